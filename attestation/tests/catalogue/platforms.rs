//! Quoting enclave, TDX module, domain and platform against what the vendor says of them.

use cloister_attestation::{Roots, TcbStatus, collateral::RootOfTrust};
use cloister_synthetic_evidence::{PckTcb, TCB_DATE, TcbLevel, TdReport, TdxModuleIdentity};

use crate::trial::{BOTH, TDX, Trial, accepted};

refusals! {
    quoting_enclave_of_another_signer: QeMrSigner, BOTH, |t| t.scenario.quote.qe_report.mr_signer[0] ^= 1;
    quoting_enclave_of_another_product: QeProductId, BOTH, |t| t.scenario.quote.qe_report.isv_prod_id = 9;
    quoting_enclave_with_other_misc_select: QeMiscSelect, BOTH, |t| t.scenario.quote.qe_report.misc_select[3] = 0x80;
    quoting_enclave_with_other_attributes: QeAttributes, BOTH, |t| t.scenario.quote.qe_report.attributes[0] |= 0x20;
    quoting_enclave_without_its_attributes: QeAttributes, BOTH, |t| t.scenario.quote.qe_report.attributes[0] &= !0x10;
    quoting_enclave_under_debug: QeDebug, BOTH, |t| t.scenario.quote.qe_report.attributes[0] |= 2;
    quoting_enclave_under_debug_whatever_the_mask: QeDebug, BOTH, |t| {
        t.scenario.quote.qe_report.attributes[0] |= 2;
        t.scenario.qe_identity.attributes_mask = vec![0; 16];
    };
    quoting_enclave_below_every_level: QeSecurityVersion, BOTH, |t| t.scenario.quote.qe_report.isv_svn = 5;
    quoting_enclave_whose_software_needs_hardening: QeStatus, BOTH, |t| {
        t.scenario.qe_identity.tcb_levels[0].tcb_status = "SWHardeningNeeded".into();
    };
    quoting_enclave_that_needs_configuration: QeStatus, BOTH, |t| {
        t.scenario.qe_identity.tcb_levels[0].tcb_status = "ConfigurationNeeded".into();
    };
    quoting_enclave_that_is_old_and_needs_configuration: QeStatus, BOTH, |t| {
        t.scenario.qe_identity.tcb_levels[0].tcb_status = "OutOfDateConfigurationNeeded".into();
    };
    quoting_enclave_whose_configuration_and_software_need_hardening: QeStatus, BOTH, |t| {
        t.scenario.qe_identity.tcb_levels[0].tcb_status = "ConfigurationAndSWHardeningNeeded".into();
    };

    pce_svn_below_every_level: TcbLevelMissing, BOTH, |t| tcb(t).pce_svn = Some(9);
    component_below_every_level: TcbLevelMissing, BOTH, |t| tcb(t).components[0] = 4;
    last_component_below_every_level: TcbLevelMissing, BOTH, |t| {
        t.scenario.tcb_info.tcb_levels.iter_mut().for_each(|level| level.tcb.sgx_components[15] = 1);
    };
    tdx_component_below_every_level: TcbLevelMissing, TDX, |t| td(t).tee_tcb_svn[2] = 1;
    version_0_module_below_every_level: TcbLevelMissing, TDX, |t| {
        t.scenario.tcb_info.tdx_module_identities = None;
        levels(t).iter_mut().for_each(|level| level.tcb.tdx_components.as_mut().expect("TDX")[1] = 0);
        td(t).tee_tcb_svn[0] = 1;
        td(t).tee_tcb_svn[1] = 0;
    };

    tdx_module_unknown: TdxModuleUnknown, TDX, |t| td(t).tee_tcb_svn[1] = 2;
    tdx_module_without_identities: TdxModuleUnknown, TDX, |t| t.scenario.tcb_info.tdx_module_identities = None;
    tdx_module_of_another_signer: TdxModuleSigner, TDX, |t| td(t).mr_signer_seam[47] = 1;
    tdx_module_with_other_attributes: TdxModuleAttributes, TDX, |t| td(t).seam_attributes[7] = 0x80;
    tdx_module_with_attributes_outside_the_mask: TdxModuleAttributes, TDX, |t| {
        identity(t).module.attributes_mask = vec![0; 8];
        td(t).seam_attributes[0] = 1;
    };
    tdx_module_below_every_level: TdxModuleSecurityVersion, TDX, |t| td(t).tee_tcb_svn[0] = 1;
    tdx_module_that_needs_configuration: TdxModuleStatus, TDX, |t| {
        identity(t).tcb_levels[0].tcb_status = "ConfigurationNeeded".into();
    };

    domain_with_reserved_attributes: TdAttributesReserved, TDX, |t| td(t).td_attributes[0] |= 2;
    domain_with_high_reserved_attributes: TdAttributesReserved, TDX, |t| td(t).td_attributes[4] |= 1;
    domain_that_can_migrate: TdMigratable, TDX, |t| td(t).td_attributes[3] |= 0x20;
    domain_that_the_host_can_interrupt: TdSeptVe, TDX, |t| td(t).td_attributes[3] = 0;
    domain_under_the_development_root: DevelopmentKind, TDX, |t| {
        let root = t.scenario.authority.root_der();
        t.roots = Some(Roots::new(&[(RootOfTrust::Development, &root)]).expect("good"));
    };
}

/// Masks of the identity say which bits count.
#[test]
fn bits_outside_the_masks_do_not_count() {
    accepted(BOTH, |t| {
        t.scenario.quote.qe_report.attributes[0] |= 4;
        t.scenario.quote.qe_report.attributes[15] = 0xff;
    });
    accepted(BOTH, |t| {
        t.scenario.qe_identity.miscselect_mask = vec![0xff, 0xff, 0xff, 0];
        t.scenario.quote.qe_report.misc_select[3] = 0x80;
    });
}

/// The highest level that the platform reaches in every component decides.
#[test]
fn the_highest_level_that_is_reached_decides() {
    let status = |change: fn(&mut Trial)| accepted(BOTH, change).iter().map(|it| it.tcb_status).collect::<Vec<_>>();
    assert_eq!(status(|_| ()), [TcbStatus::UpToDate; 2]);
    assert_eq!(status(|t| tcb(t).components[0] = 12), [TcbStatus::UpToDate; 2]);
    assert_eq!(status(|t| tcb(t).components[0] = 10), [TcbStatus::OutOfDate; 2]);
    assert_eq!(status(|t| tcb(t).components[0] = 5), [TcbStatus::OutOfDate; 2]);
    // More in one component does not make up for less in another.
    assert_eq!(status(|t| (tcb(t).components[0], tcb(t).components[1]) = (255, 10)), [TcbStatus::OutOfDate; 2]);
    assert_eq!(status(|t| t.scenario.quote.qe_report.isv_svn = 7), [TcbStatus::OutOfDate; 2]);
    assert_eq!(status(|t| t.scenario.quote.qe_report.isv_svn = 6), [TcbStatus::OutOfDate; 2]);
}

/// A module of version 0 is judged by the platform's levels, every later one by its own.
#[test]
fn tdx_modules_are_judged_by_version() {
    let status = |change: fn(&mut Trial)| accepted(TDX, change)[0].tcb_status;
    assert_eq!(status(|t| td(t).tee_tcb_svn[0] = 4), TcbStatus::OutOfDate);
    assert_eq!(status(|t| td(t).tee_tcb_svn[0] = 2), TcbStatus::OutOfDate);
    let version_0 = |trial: &mut Trial| {
        levels(trial).iter_mut().for_each(|level| level.tcb.tdx_components.as_mut().expect("TDX")[1] = 0);
        td(trial).tee_tcb_svn[1] = 0;
    };
    for (security_version, expected) in [(5, TcbStatus::UpToDate), (4, TcbStatus::OutOfDate), (2, TcbStatus::OutOfDate)]
    {
        let mut trial = Trial::good(TDX[0]);
        version_0(&mut trial);
        td(&mut trial).tee_tcb_svn[0] = security_version;
        assert_eq!(trial.verify().expect("good").tcb_status, expected, "{security_version}");
    }
    // Versions are written in hexadecimal.
    assert_eq!(
        status(|t| {
            identity(t).id = "TDX_0A".into();
            td(t).tee_tcb_svn[1] = 10;
        }),
        TcbStatus::UpToDate
    );
}

/// Advisories of platform, module and quoting enclave together; the date of platform and module, whichever is older.
#[test]
fn advisories_and_dates_come_together() {
    let mut trial = Trial::good(TDX[0]);
    trial.scenario.tcb_info.tcb_levels[0].advisory_ids = Some(vec!["INTEL-SA-3".into(), "INTEL-SA-1".into()]);
    trial.scenario.tcb_info.tcb_levels[0].tcb_date = TCB_DATE + 2000;
    let module = &mut identity(&mut trial).tcb_levels[0];
    module.advisory_ids = Some(vec!["INTEL-SA-2".into(), "INTEL-SA-1".into()]);
    module.tcb_date = TCB_DATE + 1000;
    trial.scenario.qe_identity.tcb_levels[0].advisory_ids = Some(vec!["INTEL-SA-4".into()]);
    let verification = trial.verify().expect("good");
    let names: Vec<_> = verification.advisories.iter().map(|advisory| advisory.as_str()).collect();
    assert_eq!(names, ["INTEL-SA-1", "INTEL-SA-2", "INTEL-SA-3", "INTEL-SA-4"]);
    assert_eq!(verification.tcb_date, TCB_DATE + 1000);
}

fn tcb(trial: &mut Trial) -> &mut PckTcb {
    trial.scenario.sgx_extension.as_mut().and_then(|sgx| sgx.tcb.as_mut()).expect("there")
}

fn td(trial: &mut Trial) -> &mut TdReport {
    trial.scenario.td_report_mut().expect("TDX")
}

fn levels(trial: &mut Trial) -> &mut Vec<TcbLevel> {
    &mut trial.scenario.tcb_info.tcb_levels
}

fn identity(trial: &mut Trial) -> &mut TdxModuleIdentity {
    &mut trial.scenario.tcb_info.tdx_module_identities.as_mut().expect("TDX")[0]
}
