//! Quotes recorded on genuine hardware against collateral that says something else than the recorded one: one thing is
//! changed after its verification, so that exactly one check can see it.

use cloister_attestation::{
    Advisory, Error, Roots, TcbStatus, Validity, Verification, bundle,
    chain::PckCertificate,
    collateral::{
        CrlIssuer, IsvLevel, QeIdentity, RevocationList, RootOfTrust, Serial, TcbInfo, TcbLevel, VerifiedCollateral,
    },
    quote::Quote,
    verify_crl, verify_qe_identity, verify_quote, verify_tcb_info,
};

const SGX_QUOTE: &[u8] = include_bytes!("vectors/sgx-v3/quote.bin");
const SGX_COLLATERAL: &str = include_str!("vectors/sgx-v3/collateral.json");
const TDX_QUOTE: &[u8] = include_bytes!("vectors/tdx-v4/quote.bin");
const TDX_COLLATERAL: &str = include_str!("vectors/tdx-v4/collateral.json");
/// 2025-06-20T00:00:00Z.
const AT: u64 = 1_750_377_600_000;

#[derive(Clone)]
struct Case {
    quote: &'static [u8],
    tcb_info: TcbInfo,
    qe_identity: QeIdentity,
    root_crl: RevocationList,
    pck_crl: RevocationList,
}

impl Case {
    fn sgx() -> Self {
        Self::new(SGX_QUOTE, SGX_COLLATERAL)
    }

    fn tdx() -> Self {
        Self::new(TDX_QUOTE, TDX_COLLATERAL)
    }

    fn new(quote: &'static [u8], collateral: &str) -> Self {
        let (collateral, roots) = (bundle::parse_json(collateral).unwrap(), Roots::intel());
        let pck_crl = collateral.pck_crl.unwrap();
        Self {
            quote,
            root_crl: verify_crl(&collateral.root_crl.unwrap(), &collateral.tcb_info.issuer_chain, &roots, AT).unwrap(),
            tcb_info: verify_tcb_info(&collateral.tcb_info, &roots, AT).unwrap(),
            qe_identity: verify_qe_identity(&collateral.qe_identity, &roots, AT).unwrap(),
            pck_crl: verify_crl(&pck_crl.crl, &pck_crl.issuer_chain, &roots, AT).unwrap(),
        }
    }

    fn pck(&self) -> PckCertificate {
        PckCertificate::verify(Quote::parse(self.quote).unwrap().pck_chain, &Roots::intel()).unwrap()
    }

    fn verify(&self) -> Result<Verification, Error> {
        let collateral = VerifiedCollateral {
            tcb_info: &self.tcb_info,
            qe_identity: &self.qe_identity,
            root_crl: Some(&self.root_crl),
            pck_crl: Some(&self.pck_crl),
        };
        verify_quote(self.quote, collateral, &Roots::intel(), AT)
    }

    /// With one thing changed.
    fn with(&self, change: impl FnOnce(&mut Self)) -> Result<Verification, Error> {
        let mut case = self.clone();
        change(&mut case);
        case.verify()
    }

    fn status_with(&self, change: impl FnOnce(&mut Self)) -> TcbStatus {
        self.with(change).unwrap().tcb_status
    }
}

fn advisories<const N: usize>(names: [&str; N]) -> Vec<Advisory> {
    names.map(|name| Advisory::try_from(name.to_owned()).unwrap()).to_vec()
}

fn isv_level(isv_svn: u16, status: TcbStatus) -> IsvLevel {
    IsvLevel { isv_svn, status, date: 0, advisories: Vec::new() }
}

/// A level that the platform just reaches.
fn level_of(pck: &PckCertificate, status: TcbStatus) -> TcbLevel {
    TcbLevel {
        sgx_components: pck.tcb_components,
        pce_svn: pck.pce_svn,
        tdx_components: None,
        status,
        date: 0,
        advisories: Vec::new(),
    }
}

#[test]
fn unchanged_collateral_holds() {
    assert!(Case::sgx().verify().is_ok());
    assert!(Case::tdx().verify().is_ok());
}

#[test]
fn collateral_is_of_the_same_root_and_platform() {
    for case in [Case::sgx(), Case::tdx()] {
        let other = RootOfTrust::Development;
        assert_eq!(case.with(|it| it.tcb_info.root = other), Err(Error::QuoteRoot));
        assert_eq!(case.with(|it| it.qe_identity.root = other), Err(Error::QuoteRoot));
        assert_eq!(case.with(|it| it.root_crl.root = other), Err(Error::QuoteRoot));
        assert_eq!(case.with(|it| it.pck_crl.root = other), Err(Error::QuoteRoot));
        assert_eq!(case.with(|it| it.tcb_info.fmspc[5] ^= 1), Err(Error::FmspcMismatch));
        assert_eq!(case.with(|it| it.tcb_info.pce_id[1] ^= 1), Err(Error::PceIdMismatch));
    }
    let (sgx, tdx) = (Case::sgx(), Case::tdx());
    assert_eq!(sgx.with(|it| it.tcb_info = tdx.tcb_info.clone()), Err(Error::TcbInfoPlatform));
    assert_eq!(sgx.with(|it| it.qe_identity = tdx.qe_identity.clone()), Err(Error::QeIdentityPlatform));
}

/// Verified collateral is checked against the time of its use, not that of its verification.
#[test]
fn validities_are_checked_at_the_time_of_use() {
    let case = Case::sgx();
    let (past, future) = (Validity { from: 0, until: AT - 1 }, Validity { from: AT + 1, until: u64::MAX });
    assert_eq!(case.with(|it| it.tcb_info.validity = past), Err(Error::DocumentExpired));
    assert_eq!(case.with(|it| it.tcb_info.validity = future), Err(Error::DocumentNotYetValid));
    assert_eq!(case.with(|it| it.qe_identity.validity = past), Err(Error::DocumentExpired));
    assert_eq!(case.with(|it| it.qe_identity.validity = future), Err(Error::DocumentNotYetValid));
    assert_eq!(case.with(|it| it.root_crl.validity = past), Err(Error::CrlExpired));
    assert_eq!(case.with(|it| it.root_crl.validity = future), Err(Error::CrlNotYetValid));
    assert_eq!(case.with(|it| it.pck_crl.validity = past), Err(Error::CrlExpired));
    assert_eq!(case.with(|it| it.pck_crl.validity = future), Err(Error::CrlNotYetValid));
    assert_eq!(case.with(|it| it.tcb_info.signer.validity = past), Err(Error::CertificateExpired));
    assert_eq!(case.with(|it| it.qe_identity.signer.validity = future), Err(Error::CertificateNotYetValid));
    let of_list = |validity| case.with(|it| it.pck_crl.signer.as_mut().unwrap().validity = validity);
    assert_eq!(of_list(past), Err(Error::CertificateExpired));
}

#[test]
fn the_window_lies_inside_all_validities() {
    let case = Case::tdx();
    let narrow = Validity { from: AT - 5, until: AT + 5 };
    assert_eq!(case.with(|it| it.tcb_info.validity = narrow).unwrap().validity, narrow);
    assert_eq!(case.with(|it| it.tcb_info.signer.validity = narrow).unwrap().validity, narrow);
    assert_eq!(case.with(|it| it.qe_identity.validity = narrow).unwrap().validity, narrow);
    assert_eq!(case.with(|it| it.qe_identity.signer.validity = narrow).unwrap().validity, narrow);
    assert_eq!(case.with(|it| it.root_crl.validity = narrow).unwrap().validity, narrow);
    assert_eq!(case.with(|it| it.pck_crl.validity = narrow).unwrap().validity, narrow);
    assert_eq!(case.with(|it| it.pck_crl.signer.as_mut().unwrap().validity = narrow).unwrap().validity, narrow);
    // The age of collateral is that of its oldest document.
    assert_eq!(case.with(|it| it.root_crl.validity.from = 7).unwrap().collateral_issued, 7);
    assert_eq!(case.with(|it| it.qe_identity.validity.from = 7).unwrap().collateral_issued, 7);
    assert_eq!(case.with(|it| it.tcb_info.signer.validity.from = 7), case.verify());
}

/// Lists may be newer than everything else: all serial numbers are looked up at every use.
#[test]
fn revoked_certificates_are_refused() {
    for case in [Case::sgx(), Case::tdx()] {
        let pck = case.pck();
        let revoke = |list: &mut RevocationList, serial: &Serial| {
            list.revoked.push(serial.clone());
            list.revoked.sort();
        };
        assert_eq!(case.with(|it| revoke(&mut it.pck_crl, &pck.serial)), Err(Error::PckRevoked));
        assert_eq!(case.with(|it| revoke(&mut it.root_crl, &pck.issuer_serial)), Err(Error::PckIssuerRevoked));
        let signer = &case.tcb_info.signer.serial;
        assert_eq!(case.with(|it| revoke(&mut it.root_crl, signer)), Err(Error::TcbInfoSignerRevoked));
        let other = Serial(vec![1, 2, 3]);
        let only_identity = case.with(|it| {
            it.qe_identity.signer.serial = other.clone();
            revoke(&mut it.root_crl, &other);
        });
        assert_eq!(only_identity, Err(Error::QeIdentitySignerRevoked));
        let only_list = case.with(|it| {
            it.pck_crl.signer.as_mut().unwrap().serial = other.clone();
            revoke(&mut it.root_crl, &other);
        });
        assert_eq!(only_list, Err(Error::CrlSignerRevoked));
        // A serial number means nothing in another authority's list.
        assert_eq!(case.with(|it| revoke(&mut it.root_crl, &pck.serial)), case.verify());
        assert_eq!(case.with(|it| revoke(&mut it.pck_crl, &pck.issuer_serial)), case.verify());
    }
}

#[test]
fn lists_are_those_of_root_and_issuer() {
    let case = Case::sgx();
    assert_eq!(case.with(|it| it.root_crl = it.pck_crl.clone()), Err(Error::RootCrlIssuer));
    assert_eq!(case.with(|it| it.pck_crl = it.root_crl.clone()), Err(Error::PckCrlIssuer));
    assert_eq!(case.with(|it| it.pck_crl.issuer = CrlIssuer::Platform), Err(Error::PckCrlIssuer));
}

#[test]
fn quoting_enclaves_are_those_of_the_identity() {
    for case in [Case::sgx(), Case::tdx()] {
        assert_eq!(case.with(|it| it.qe_identity.mr_signer[31] ^= 1), Err(Error::QeMrSigner));
        assert_eq!(case.with(|it| it.qe_identity.isv_prod_id += 1), Err(Error::QeProductId));
        for byte in 0..4 {
            assert_eq!(case.with(|it| it.qe_identity.misc_select[byte] ^= 0x80), Err(Error::QeMiscSelect));
        }
        let unmasked = case.with(|it| {
            it.qe_identity.misc_select = [0xff; 4];
            it.qe_identity.misc_select_mask = [0; 4];
        });
        assert_eq!(unmasked, case.verify());
        assert_eq!(case.with(|it| it.qe_identity.attributes[0] ^= 0x10), Err(Error::QeAttributes));
        assert_eq!(case.with(|it| it.qe_identity.attributes[7] ^= 1), Err(Error::QeAttributes));
        assert_eq!(case.with(|it| it.qe_identity.attributes[15] ^= 1), case.verify(), "outside the mask");
        assert_eq!(case.with(|it| it.qe_identity.attributes_mask[8] = 1), Err(Error::QeAttributes), "XFRM is 0xe7");
    }
}

#[test]
fn security_version_of_the_quoting_enclave() {
    // The recorded one has 10.
    let case = Case::sgx();
    use TcbStatus::*;
    let with_levels = |levels: &[(u16, TcbStatus)]| {
        case.with(|it| {
            it.qe_identity.levels = levels.iter().map(|(isv_svn, status)| isv_level(*isv_svn, *status)).collect();
            it.tcb_info.levels = vec![level_of(&case.pck(), UpToDate)];
        })
        .map(|verification| verification.tcb_status)
    };
    assert_eq!(with_levels(&[(10, UpToDate), (9, OutOfDate)]), Ok(UpToDate));
    assert_eq!(with_levels(&[(11, UpToDate), (10, OutOfDate)]), Ok(OutOfDate));
    assert_eq!(with_levels(&[(11, UpToDate), (9, OutOfDate), (1, Revoked)]), Ok(OutOfDate));
    assert_eq!(with_levels(&[(11, UpToDate)]), Err(Error::QeSecurityVersion));
    assert_eq!(with_levels(&[]), Err(Error::QeSecurityVersion));
    assert_eq!(with_levels(&[(u16::MAX, UpToDate), (0, Revoked)]), Ok(Revoked));
    for status in [SwHardeningNeeded, ConfigurationAndSwHardeningNeeded] {
        assert_eq!(with_levels(&[(10, status)]), Err(Error::QeStatus));
        assert_eq!(with_levels(&[(10, UpToDate), (9, status)]), Ok(UpToDate), "only the level that matches counts");
    }
}

#[test]
fn platform_and_quoting_enclave_converge() {
    use TcbStatus::*;
    let case = Case::sgx();
    let pck = case.pck();
    let converged = |platform, quoting_enclave| {
        case.status_with(|it| {
            it.tcb_info.levels = vec![level_of(&pck, platform)];
            it.qe_identity.levels = vec![isv_level(0, quoting_enclave)];
        })
    };
    let all = [
        UpToDate,
        SwHardeningNeeded,
        ConfigurationNeeded,
        ConfigurationAndSwHardeningNeeded,
        OutOfDate,
        OutOfDateConfigurationNeeded,
        Revoked,
    ];
    for platform in all {
        assert_eq!(converged(platform, Revoked), Revoked);
        assert_eq!(converged(platform, UpToDate), platform);
    }
    for (platform, together) in [
        (UpToDate, OutOfDate),
        (SwHardeningNeeded, OutOfDate),
        (ConfigurationNeeded, OutOfDateConfigurationNeeded),
        (ConfigurationAndSwHardeningNeeded, OutOfDateConfigurationNeeded),
        (OutOfDate, OutOfDate),
        (OutOfDateConfigurationNeeded, OutOfDateConfigurationNeeded),
        (Revoked, Revoked),
    ] {
        assert_eq!(converged(platform, OutOfDate), together);
    }
}

/// Statuses that only platforms have. A verifier that lets them pass says that all is well.
#[test]
fn a_quoting_enclave_is_up_to_date_out_of_date_or_revoked() {
    use TcbStatus::*;
    for case in [Case::sgx(), Case::tdx()] {
        for status in
            [SwHardeningNeeded, ConfigurationNeeded, ConfigurationAndSwHardeningNeeded, OutOfDateConfigurationNeeded]
        {
            assert_eq!(case.with(|it| it.qe_identity.levels = vec![isv_level(0, status)]), Err(Error::QeStatus));
            // A level that is not reached may say what it likes.
            let levels = vec![isv_level(u16::MAX, status), isv_level(0, OutOfDate)];
            assert!(case.with(|it| it.qe_identity.levels = levels).is_ok());
        }
    }
}

#[test]
fn every_component_and_pcesvn_must_be_reached() {
    let case = Case::sgx();
    let pck = case.pck();
    let reaches = |change: &dyn Fn(&mut TcbLevel)| {
        let mut level = level_of(&pck, TcbStatus::UpToDate);
        change(&mut level);
        let mut levels = vec![level];
        match case.with(|it| it.tcb_info.levels = std::mem::take(&mut levels)) {
            Ok(_) => true,
            Err(Error::TcbLevelMissing) => false,
            Err(other) => panic!("{other}"),
        }
    };
    assert!(reaches(&|_| {}));
    for component in 0..16 {
        match pck.tcb_components[component] {
            u8::MAX => {}
            _ => assert!(!reaches(&|level| level.sgx_components[component] += 1), "component {component} one above"),
        }
        assert!(reaches(&|level| level.sgx_components[component] = 0), "component {component} at 0");
    }
    assert!(!reaches(&|level| level.pce_svn += 1), "PCESVN one above");
    assert!(reaches(&|level| level.pce_svn -= 1), "PCESVN one below");
    assert_eq!(case.with(|it| it.tcb_info.levels.clear()), Err(Error::TcbLevelMissing));
}

#[test]
fn the_newest_level_that_is_reached_counts() {
    use TcbStatus::*;
    let case = Case::sgx();
    let level = |status, change: &dyn Fn(&mut TcbLevel)| {
        let mut level = level_of(&case.pck(), status);
        change(&mut level);
        level
    };
    let mut levels = vec![
        level(UpToDate, &|level| level.pce_svn += 1),
        level(ConfigurationNeeded, &|_| {}),
        level(OutOfDate, &|level| level.pce_svn -= 1),
        level(OutOfDateConfigurationNeeded, &|level| level.sgx_components[0] -= 1),
        level(Revoked, &|level| {
            level.sgx_components = [0; 16];
            level.pce_svn = 0;
        }),
    ];
    for status in [ConfigurationNeeded, OutOfDate, OutOfDateConfigurationNeeded, Revoked] {
        assert_eq!(case.status_with(|it| it.tcb_info.levels = levels.clone()), status);
        levels.remove(1);
    }
    assert_eq!(case.with(|it| it.tcb_info.levels = levels), Err(Error::TcbLevelMissing));
}

#[test]
fn advisories_of_all_levels_are_named_once_and_sorted() {
    let verification = Case::tdx()
        .with(|it| {
            it.tcb_info.levels[0].advisories = advisories(["INTEL-SA-3", "INTEL-SA-2"]);
            it.tcb_info.levels[1].advisories = advisories(["INTEL-SA-9"]);
            let module = it.tcb_info.tdx_modules.iter_mut().find(|module| module.version == 1).unwrap();
            module.levels[0].advisories = advisories(["INTEL-SA-4", "INTEL-SA-2"]);
            it.qe_identity.levels[0].advisories = advisories(["INTEL-SA-1", "INTEL-SA-3"]);
        })
        .unwrap();
    assert_eq!(verification.advisories, advisories(["INTEL-SA-1", "INTEL-SA-2", "INTEL-SA-3", "INTEL-SA-4"]));
}

#[test]
fn the_lower_evaluation_number_and_the_older_level_count() {
    let case = Case::tdx();
    assert_eq!(case.with(|it| it.tcb_info.evaluation_number = 3).unwrap().evaluation_number, 3);
    assert_eq!(case.with(|it| it.qe_identity.evaluation_number = 4).unwrap().evaluation_number, 4);
    assert_eq!(case.with(|it| it.tcb_info.levels[0].date = 5).unwrap().tcb_date, 5);
    let module = case.with(|it| {
        it.tcb_info.tdx_modules.iter_mut().for_each(|module| {
            module.levels.iter_mut().for_each(|level| level.date = 6);
        })
    });
    assert_eq!(module.unwrap().tcb_date, 6);
    assert_eq!(case.with(|it| it.qe_identity.levels[0].date = 7).unwrap().tcb_date, case.verify().unwrap().tcb_date);
}

/// The recorded domain runs on module version 1, security version 6.
#[test]
fn tdx_modules_are_those_of_the_tcb_info() {
    let case = Case::tdx();
    let with_module = |change: &dyn Fn(&mut cloister_attestation::collateral::TdxModule)| {
        case.with(|it| {
            let module = it.tcb_info.tdx_modules.iter_mut().find(|module| module.version == 1).unwrap();
            change(module);
        })
    };
    assert_eq!(with_module(&|module| module.version = 2), Err(Error::TdxModuleUnknown));
    assert_eq!(case.with(|it| it.tcb_info.tdx_modules.clear()), Err(Error::TdxModuleUnknown));
    assert_eq!(with_module(&|module| module.mr_signer[0] = 1), Err(Error::TdxModuleSigner));
    assert_eq!(with_module(&|module| module.attributes[3] = 1), Err(Error::TdxModuleAttributes));
    let outside_mask = with_module(&|module| {
        module.attributes[3] = 1;
        module.attributes_mask[3] = 0xfe;
    });
    assert_eq!(outside_mask, case.verify());

    use TcbStatus::*;
    let status = |levels: &[(u16, TcbStatus)]| {
        let levels: Vec<_> = levels.iter().map(|(isv_svn, status)| isv_level(*isv_svn, *status)).collect();
        with_module(&|module| module.levels = levels.clone()).map(|verification| verification.tcb_status)
    };
    assert_eq!(status(&[(6, UpToDate), (5, OutOfDate)]), Ok(UpToDate));
    assert_eq!(status(&[(7, UpToDate), (6, OutOfDate)]), Ok(OutOfDate));
    assert_eq!(status(&[(7, UpToDate), (0, Revoked)]), Ok(Revoked));
    assert_eq!(status(&[(7, UpToDate)]), Err(Error::TdxModuleSecurityVersion));
    assert_eq!(status(&[]), Err(Error::TdxModuleSecurityVersion));
    for other in
        [SwHardeningNeeded, ConfigurationNeeded, ConfigurationAndSwHardeningNeeded, OutOfDateConfigurationNeeded]
    {
        assert_eq!(status(&[(6, other)]), Err(Error::TdxModuleStatus));
    }
}

/// TEE_TCB_SVN is 6, 1, 3, 0, …: with module version 1 its first two do not count.
#[test]
fn tdx_components_must_be_reached() {
    let case = Case::tdx();
    let with_components = |change: &dyn Fn(&mut [u8; 16])| {
        case.with(|it| {
            it.tcb_info.levels.truncate(1);
            change(it.tcb_info.levels[0].tdx_components.as_mut().unwrap());
        })
        .map(|verification| verification.tcb_status)
    };
    assert_eq!(with_components(&|components| components[..2].fill(0xff)), Ok(TcbStatus::UpToDate));
    assert_eq!(with_components(&|components| components[2] = 3), Ok(TcbStatus::UpToDate));
    assert_eq!(with_components(&|components| components[2] = 4), Err(Error::TcbLevelMissing));
    for component in 3..16 {
        assert_eq!(with_components(&|components| components[component] = 1), Err(Error::TcbLevelMissing));
    }
    let without = case.with(|it| it.tcb_info.levels.iter_mut().for_each(|level| level.tdx_components = None));
    assert_eq!(without, Err(Error::TcbLevelMissing));
}
