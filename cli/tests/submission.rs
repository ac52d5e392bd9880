//! What is said of an extrinsic whose node no longer tells, or tells in words that are made to be seen.

mod command;

use cloister_chain_primitives::H256;
use command::{Cli, pool::Pool, text};
use serde_json::{Value, json};

const TRANSFER: [&str; 5] = ["transfer", "//Alice", "//Bob", "1", "--node-url"];

fn transfer(pool: &Pool) -> (i32, Value) {
    Cli::new().json(&[&TRANSFER[..], &[&pool.url]].concat())
}

#[test]
fn an_extrinsic_out_of_sight_is_not_said_to_be_refused() {
    let block = H256::repeat_byte(8);
    let ends = [
        (json!("ready"), "the node stopped reporting"),
        (json!("dropped"), "the node's pool dropped it"),
        (json!({ "finalityTimeout": block }), "took too long to become final"),
        (json!({ "inBlock": block }), "it is in block"),
        (json!({ "unheardOf": 7 }), "unheardOf"),
    ];
    for (status, last) in ends {
        let (code, failure) = transfer(&Pool::saying(vec![json!("future"), status]));
        let error = failure["error"].as_str().unwrap();
        assert!(error.starts_with("what becomes of the extrinsic 0x") && error.contains(last), "{failure}");
        assert!(failure["hint"].as_str().unwrap().contains("before you send it again"), "{failure}");
        assert_eq!(code, 1);
    }
    let already = json!({ "code": 1013, "message": "Transaction is already imported" });
    let (code, failure) = transfer(&Pool::refusing(already));
    assert!(failure["error"].as_str().unwrap().ends_with("the node's pool had it already"), "{failure}");
    assert_eq!(code, 1);
}

#[test]
fn an_extrinsic_that_can_never_be_included_is_refused() {
    for (status, last) in
        [(json!("invalid"), "no longer valid"), (json!({ "usurped": H256::zero() }), "took its place")]
    {
        let (code, failure) = transfer(&Pool::saying(vec![json!("ready"), status]));
        assert!(failure["error"].as_str().unwrap().ends_with(last), "{failure}");
        assert_eq!(
            (code, failure["hint"].as_str()),
            (3, Some("it had no effect on layer one; the same command signs it anew"))
        );
    }
}

#[test]
fn words_of_others_do_not_steer_the_terminal() {
    let words = "\u{1b}]0;x\u{7}\u{9b}31mred\u{202e}".to_string() + &"long".repeat(10_000);
    let refusal = json!({ "code": 1010, "message": "Invalid Transaction\r\n", "data": words });
    let pool = Pool::refusing(refusal);
    let (code, failure) = transfer(&pool);
    let error = failure["error"].as_str().unwrap();
    let shown = r"refused the extrinsic: Invalid Transaction\r : \u{1b}]0;x\u{7}\u{9b}31mred\u{202e}longlong";
    assert!(error.contains(shown), "{error}");
    assert!(error.chars().count() == 2_001 && error.ends_with('…'), "{}", error.len());
    assert_eq!(code, 3);

    let output = Cli::new().run(&[&TRANSFER[..], &[&pool.url]].concat());
    let errors = text(&output.stderr);
    assert!(errors.contains(shown), "{errors}");
    assert!(errors.chars().all(|character| character == '\n' || !character.is_control()), "{errors:?}");
    assert!(errors.len() < 3_000);
}
