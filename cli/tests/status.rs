//! `worker status` as built, against a health port that says anything.

mod command;

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    process::Stdio,
};

use command::{Cli, text};
use serde_json::{Value, json};

/// A health port that gives every client the same answer; its address.
fn health_port(code: &'static str, body: Value) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let lines = BufReader::new(client.try_clone().unwrap()).lines();
            let request: Vec<_> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
            assert_eq!(request[0], "GET /status HTTP/1.1");
            let body = body.to_string();
            let head = format!("HTTP/1.1 {code}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _ = client.write_all((head + &body).as_bytes());
        }
    });
    url
}

fn status(url: &str) -> (i32, Value) {
    Cli::new().json(&["worker", "status", "--url", url])
}

#[test]
fn a_worker_that_serves_ends_with_0_and_one_that_does_not_with_3() {
    let serving = json!({ "version": "0.1.0", "phase": "serving", "block": 7, "anchored": 7, "account_free": "5" });
    let (code, shown) = status(&health_port("200 OK", serving.clone()));
    assert_eq!((code, &shown["serves"], &shown["warnings"]), (0, &json!(true), &json!([])), "{shown}");
    assert_eq!((&shown["block"], &shown["account_free"]), (&json!(7), &json!("5")));

    let (code, shown) = status(&health_port("200 OK", json!({ "version": "0.1.0", "phase": "registering" })));
    assert_eq!((code, &shown["serves"]), (3, &json!(false)), "{shown}");
    assert_eq!(shown["warnings"], json!(["it does not serve yet"]));
    let mut paused = serving;
    paused["paused"] = "finality of layer one".into();
    let (code, shown) = status(&health_port("200 OK", paused.clone()));
    assert_eq!((code, &shown["serves"]), (3, &json!(false)), "{shown}");

    // For people, with the variable in place of the option.
    let url = health_port("200 OK", paused);
    let output = Cli::new().command(&["worker", "status"]).env("CLOISTER_WORKER_STATUS_URL", url).output().unwrap();
    let table = text(&output.stdout);
    assert!(table.starts_with("phase         serving, PAUSED\n"), "{table}");
    assert!(table.ends_with("\nwarning: no blocks are made: finality of layer one\n"), "{table}");
    assert_eq!((output.status.code(), output.stderr.is_empty()), (Some(3), true));
}

#[test]
fn what_is_no_worker_ends_with_1_and_says_why() {
    for (code, body, reason) in [
        ("404 Not Found", json!({}), "answers with 404 Not Found"),
        ("200 OK", json!({}), "does not answer with a worker's status"),
        ("200 OK", json!("I am initialized."), "does not answer with a worker's status"),
        ("200 OK", json!({ "version": "1", "block": "many" }), "does not answer with a worker's status"),
    ] {
        let url = health_port(code, body);
        let (code, failure) = status(&url);
        assert_eq!((code, &failure["error"]), (1, &json!(format!("{url}/status {reason}"))), "{failure}");
        assert_eq!(failure["hint"], "is that the worker's health port, 4545 by default?");
    }
    let (code, failure) = status("http://127.0.0.1:9");
    assert_eq!(code, 1);
    let error = failure["error"].as_str().unwrap();
    assert!(error.starts_with("cannot reach a worker at http://127.0.0.1:9/status: "), "{failure}");
    assert!(failure["hint"].as_str().unwrap().contains("CLOISTER_WORKER_STATUS_URL"), "{failure}");
}

#[test]
fn a_watched_status_comes_again_and_again() {
    let url = health_port("200 OK", json!({ "version": "0.1.0", "phase": "serving" }));
    let mut command = Cli::new().command(&["worker", "status", "--watch", "--json", "--url", &url]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        let shown: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(shown["serves"], true);
    }
    // It ends by itself when nobody reads any more.
    drop(lines);
    assert_eq!(child.wait().unwrap().code(), Some(1));
}
