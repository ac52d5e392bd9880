//! TCB info and identities of quoting enclaves: signature and form.

use cloister_attestation::{Collateral, Error, TcbStatus};
use cloister_synthetic_evidence::{TdxModule, TdxModuleIdentity};
use serde_json::{Value, json};

use crate::trial::{BOTH, Trial, accepted, stranger};

refusals! {
    tcb_info_too_large: DocumentTooLarge, BOTH, |t| {
        let mut body = t.scenario.tcb_info.body();
        body.resize(Collateral::MAX_DOCUMENT_BYTES + 1, b' ');
        t.scenario.tcb_info.raw = Some(body);
    };
    qe_identity_too_large: DocumentTooLarge, BOTH, |t| {
        let mut body = t.scenario.qe_identity.body();
        body.resize(Collateral::MAX_DOCUMENT_BYTES + 1, b' ');
        t.scenario.qe_identity.raw = Some(body);
    };
    tcb_info_signed_by_a_stranger: DocumentSignature, BOTH, |t| t.scenario.tcb_info.signed_by = Some(stranger().tcb_signing.key);
    tcb_info_signed_by_the_pck: DocumentSignature, BOTH, |t| t.scenario.tcb_info.signed_by = Some(t.scenario.pck.key.clone());
    tcb_info_changed_after_signing: DocumentSignature, BOTH, |t| t.after(|_, collateral| {
        let body = String::from_utf8(collateral.tcb_info.body.clone()).expect("text");
        collateral.tcb_info.body = body.replacen("OutOfDate", "UpToDate", 1).into_bytes();
    });
    tcb_info_with_the_identitys_signature: DocumentSignature, BOTH, |t| t.after(|_, collateral| {
        collateral.tcb_info.signature = collateral.qe_identity.signature;
    });
    tcb_info_with_zeros_for_a_signature: DocumentSignature, BOTH, |t| {
        t.after(|_, collateral| collateral.tcb_info.signature = [0; 64]);
    };
    qe_identity_signed_by_a_stranger: DocumentSignature, BOTH, |t| {
        t.scenario.qe_identity.signed_by = Some(stranger().tcb_signing.key);
    };
    tcb_info_that_is_a_list: DocumentMalformed, BOTH, |t| t.scenario.tcb_info.raw = Some(b"[]".to_vec());
    tcb_info_that_is_cut: DocumentMalformed, BOTH, |t| {
        let mut body = t.scenario.tcb_info.body();
        body.pop();
        t.scenario.tcb_info.raw = Some(body);
    };
    tcb_info_followed_by_another: DocumentMalformed, BOTH, |t| {
        t.scenario.tcb_info.raw = Some(t.scenario.tcb_info.body().repeat(2));
    };
    qe_identity_that_is_not_utf8: DocumentMalformed, BOTH, |t| t.scenario.qe_identity.raw = Some(vec![0xff; 100]);
    tcb_levels_twice: DocumentFieldDuplicate, BOTH, |t| {
        let body = String::from_utf8(t.scenario.tcb_info.body()).expect("text");
        t.scenario.tcb_info.raw = Some(body.replacen('{', r#"{"tcbLevels":[],"#, 1).into_bytes());
    };
    status_twice: DocumentFieldDuplicate, BOTH, |t| {
        let body = String::from_utf8(t.scenario.tcb_info.body()).expect("text");
        let twice = r#""tcbStatus":"UpToDate","tcbStatus":"Revoked""#;
        t.scenario.tcb_info.raw = Some(body.replacen(r#""tcbStatus":"UpToDate""#, twice, 1).into_bytes());
    };
    mrsigner_twice: DocumentFieldDuplicate, BOTH, |t| {
        let body = String::from_utf8(t.scenario.qe_identity.body()).expect("text");
        t.scenario.qe_identity.raw = Some(body.replacen('{', r#"{"mrsigner":"","#, 1).into_bytes());
    };
    tcb_info_without_fmspc: DocumentFieldMissing, BOTH, |t| t.edit_tcb_info(|json| remove(json, "", "fmspc"));
    fmspc_of_five_bytes: DocumentField, BOTH, |t| t.scenario.tcb_info.fmspc = vec![0; 5];
    fmspc_that_is_a_number: DocumentField, BOTH, |t| t.edit_tcb_info(|json| json["fmspc"] = json!(0));
    pce_id_that_is_not_hexadecimal: DocumentField, BOTH, |t| t.edit_tcb_info(|json| json["pceId"] = json!("zz00"));
    evaluation_number_above_four_bytes: DocumentField, BOTH, |t| {
        t.scenario.tcb_info.tcb_evaluation_data_number = 1 << 32;
    };
    evaluation_number_negative: DocumentField, BOTH, |t| {
        t.edit_qe_identity(|json| json["tcbEvaluationDataNumber"] = json!(-1));
    };
    pce_svn_of_a_level_above_two_bytes: DocumentField, BOTH, |t| t.scenario.tcb_info.tcb_levels[0].tcb.pce_svn = 65_536;
    component_of_a_level_above_a_byte: DocumentField, BOTH, |t| {
        t.scenario.tcb_info.tcb_levels[0].tcb.sgx_components[0] = 256;
    };
    mrsigner_of_31_bytes: DocumentField, BOTH, |t| t.scenario.qe_identity.mrsigner.truncate(31);
    attributes_mask_of_15_bytes: DocumentField, BOTH, |t| t.scenario.qe_identity.attributes_mask.truncate(15);
    tdx_module_mrsigner_of_47_bytes: DocumentField, TDX, |t| module(t).mrsigner.truncate(47);
    tcb_info_of_version_2: DocumentVersion, BOTH, |t| t.scenario.tcb_info.version = 2;
    tcb_info_of_version_4: DocumentVersion, BOTH, |t| t.scenario.tcb_info.version = 4;
    qe_identity_of_version_3: DocumentVersion, BOTH, |t| t.scenario.qe_identity.version = 3;
    tcb_info_about_something_else: DocumentId, BOTH, |t| t.scenario.tcb_info.id = "SEV".into();
    qe_identity_of_the_quote_verification_enclave: DocumentId, BOTH, |t| t.scenario.qe_identity.id = "QVE".into();
    qe_identity_as_tcb_info: DocumentId, BOTH, |t| t.after(|_, collateral| {
        collateral.tcb_info = collateral.qe_identity.clone();
    });
    issue_date_without_zone: DocumentTime, BOTH, |t| {
        t.edit_tcb_info(|json| json["issueDate"] = json!("2020-01-01T00:00:00"));
    };
    next_update_on_no_day: DocumentTime, BOTH, |t| {
        t.edit_qe_identity(|json| json["nextUpdate"] = json!("2049-02-30T00:00:00Z"));
    };
    tcb_date_that_is_none: DocumentTime, BOTH, |t| {
        t.edit_tcb_info(|json| json["tcbLevels"][0]["tcbDate"] = json!("today"));
    };
    tcb_info_that_ends_before_it_begins: DocumentPeriod, BOTH, |t| {
        t.scenario.tcb_info.issue_date = t.at;
        t.scenario.tcb_info.next_update = t.at - 1000;
    };
    qe_identity_that_ends_before_it_begins: DocumentPeriod, BOTH, |t| {
        t.scenario.qe_identity.issue_date = t.at;
        t.scenario.qe_identity.next_update = t.at - 1000;
    };
    tcb_type_unknown: TcbType, BOTH, |t| t.scenario.tcb_info.tcb_type = 1;
    level_with_15_components: TcbComponents, BOTH, |t| {
        t.scenario.tcb_info.tcb_levels[0].tcb.sgx_components.pop();
    };
    level_with_17_components: TcbComponents, BOTH, |t| {
        t.scenario.tcb_info.tcb_levels[0].tcb.sgx_components.push(0);
    };
    level_with_no_components: TcbComponents, BOTH, |t| t.scenario.tcb_info.tcb_levels[0].tcb.sgx_components.clear();
    last_level_with_15_components: TcbComponents, BOTH, |t| {
        t.scenario.tcb_info.tcb_levels[1].tcb.sgx_components.pop();
    };
    level_with_15_tdx_components: TcbComponents, TDX, |t| _ = tdx_components(t).pop();
    level_with_17_tdx_components: TcbComponents, TDX, |t| tdx_components(t).push(0);
    status_unknown: TcbStatusUnknown, BOTH, |t| t.scenario.tcb_info.tcb_levels[0].tcb_status = "Fine".into();
    status_in_lower_case: TcbStatusUnknown, BOTH, |t| t.scenario.qe_identity.tcb_levels[0].tcb_status = "uptodate".into();
    advisory_empty: AdvisoryMalformed, BOTH, |t| t.scenario.tcb_info.tcb_levels[0].advisory_ids = Some(vec!["".into()]);
    advisory_too_long: AdvisoryMalformed, BOTH, |t| {
        t.scenario.qe_identity.tcb_levels[0].advisory_ids = Some(vec!["A".repeat(65)]);
    };
    advisory_with_control_characters: AdvisoryMalformed, BOTH, |t| {
        t.scenario.tcb_info.tcb_levels[0].advisory_ids = Some(vec!["INTEL\u{1b}[31m".into()]);
    };
    tcb_info_without_levels: LevelsMissing, BOTH, |t| t.scenario.tcb_info.tcb_levels.clear();
    qe_identity_without_levels: LevelsMissing, BOTH, |t| t.scenario.qe_identity.tcb_levels.clear();
    tdx_module_identity_without_levels: LevelsMissing, TDX, |t| identities(t)[0].tcb_levels.clear();
    level_twice: LevelsOrder, BOTH, |t| {
        let mut level = t.scenario.tcb_info.tcb_levels[0].clone();
        level.tcb_status = "OutOfDate".into();
        t.scenario.tcb_info.tcb_levels.push(level);
    };
    qe_levels_from_old_to_new: LevelsOrder, BOTH, |t| t.scenario.qe_identity.tcb_levels.reverse();
    qe_level_twice: LevelsOrder, BOTH, |t| {
        let level = t.scenario.qe_identity.tcb_levels[1].clone();
        t.scenario.qe_identity.tcb_levels.push(level);
    };
    tdx_module_levels_from_old_to_new: LevelsOrder, TDX, |t| identities(t)[0].tcb_levels.reverse();
    sgx_tcb_info_with_a_tdx_module: TdxUnexpected, SGX, |t| {
        let module = TdxModule { mrsigner: vec![0; 48], attributes: vec![0; 8], attributes_mask: vec![0xff; 8] };
        t.scenario.tcb_info.tdx_module = Some(module);
    };
    sgx_tcb_info_with_tdx_components: TdxUnexpected, SGX, |t| {
        t.scenario.tcb_info.tcb_levels[0].tcb.tdx_components = Some(vec![0; 16]);
    };
    tdx_tcb_info_without_module: TdxModuleMissing, TDX, |t| t.scenario.tcb_info.tdx_module = None;
    tdx_module_with_another_prefix: TdxModuleId, TDX, |t| identities(t)[0].id = "SGX_01".into();
    tdx_module_without_version: TdxModuleId, TDX, |t| identities(t)[0].id = "TDX_".into();
    tdx_module_with_a_long_version: TdxModuleId, TDX, |t| identities(t)[0].id = "TDX_001".into();
    tdx_module_twice: TdxModuleDuplicate, TDX, |t| {
        let identity = identities(t)[0].clone();
        identities(t).push(identity);
    };
}

/// Every field that a document must have, one after the other.
#[test]
fn a_missing_field_is_refused() {
    let common = ["id", "version", "issueDate", "nextUpdate", "tcbEvaluationDataNumber", "tcbLevels"];
    let of_tcb_info = ["fmspc", "pceId", "tcbType"];
    let of_identity = ["miscselect", "miscselectMask", "attributes", "attributesMask", "mrsigner", "isvprodid"];
    let mut tcb_info: Vec<_> = common.iter().chain(&of_tcb_info).map(|field| ("", *field)).collect();
    let mut identity: Vec<_> = common.iter().chain(&of_identity).map(|field| ("", *field)).collect();
    for field in ["tcb", "tcbDate", "tcbStatus"] {
        tcb_info.push(("/tcbLevels/1", field));
        identity.push(("/tcbLevels/1", field));
    }
    tcb_info.extend([("/tcbLevels/1/tcb", "pcesvn"), ("/tcbLevels/1/tcb/sgxtcbcomponents/3", "svn")]);
    identity.push(("/tcbLevels/1/tcb", "isvsvn"));

    for tee in BOTH {
        for (object, field) in &tcb_info {
            let mut trial = Trial::good(*tee);
            trial.edit_tcb_info(|json| remove(json, object, field));
            assert_eq!(trial.verify().err(), Some(Error::DocumentFieldMissing), "TCB info {object}/{field}");
        }
        for (object, field) in &identity {
            let mut trial = Trial::good(*tee);
            trial.edit_qe_identity(|json| remove(json, object, field));
            assert_eq!(trial.verify().err(), Some(Error::DocumentFieldMissing), "identity {object}/{field}");
        }
    }
}

fn remove(json: &mut Value, object: &str, field: &str) {
    let object = json.pointer_mut(object).and_then(Value::as_object_mut).expect("object");
    object.remove(field).expect("field");
}

#[test]
fn what_documents_leave_open_is_accepted() {
    accepted(BOTH, |t| t.edit_tcb_info(|json| json["somethingNew"] = json!({ "a": [1, 2] })));
    accepted(BOTH, |t| {
        t.edit_tcb_info(|json| json["tcbLevels"][0]["tcb"]["sgxtcbcomponents"][0]["category"] = json!("BIOS"))
    });
    accepted(BOTH, |t| t.edit_tcb_info(|json| json["fmspc"] = json!(json["fmspc"].as_str().map(str::to_lowercase))));
    accepted(BOTH, |t| t.scenario.tcb_info.tcb_levels[0].advisory_ids = Some(vec![]));
    // Levels of platforms count in the order of their numbers, whatever that of the document.
    let verifications = accepted(BOTH, |t| t.scenario.tcb_info.tcb_levels.reverse());
    assert!(verifications.iter().all(|verification| verification.tcb_status == TcbStatus::UpToDate));
}

fn module(trial: &mut Trial) -> &mut TdxModule {
    trial.scenario.tcb_info.tdx_module.as_mut().expect("TDX")
}

fn identities(trial: &mut Trial) -> &mut Vec<TdxModuleIdentity> {
    trial.scenario.tcb_info.tdx_module_identities.as_mut().expect("TDX")
}

fn tdx_components(trial: &mut Trial) -> &mut Vec<u64> {
    trial.scenario.tcb_info.tcb_levels[0].tcb.tdx_components.as_mut().expect("TDX")
}
