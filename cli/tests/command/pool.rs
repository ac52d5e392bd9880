//! A node that takes an extrinsic, says of it what it likes, and hangs up.

use cloister_chain_primitives::H256;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_tungstenite::{accept_async, tungstenite::Message};

/// A node.
pub struct Pool {
    pub url: String,
    _runtime: tokio::runtime::Runtime,
}

impl Pool {
    /// One that answers a submission with these statuses, and then closes the connection.
    pub fn saying(statuses: Vec<Value>) -> Self {
        Self::start(Ok(statuses))
    }

    /// One that refuses a submission with this error.
    pub fn refusing(error: Value) -> Self {
        Self::start(Err(error))
    }

    fn start(submission: Result<Vec<Value>, Value>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        runtime.spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let submission = submission.clone();
                tokio::spawn(async move {
                    let mut socket = accept_async(tcp).await.unwrap();
                    while let Some(Ok(Message::Text(request))) = socket.next().await {
                        let request: Value = serde_json::from_str(request.as_str()).unwrap();
                        let (answers, ends) = answers(&request, &submission);
                        for answer in answers {
                            socket.send(Message::text(answer.to_string())).await.unwrap();
                        }
                        if ends {
                            return;
                        }
                    }
                });
            }
        });
        Self { url, _runtime: runtime }
    }
}

/// What is sent, and whether that is the last.
fn answers(request: &Value, submission: &Result<Vec<Value>, Value>) -> (Vec<Value>, bool) {
    let hash = H256::repeat_byte(7);
    let result = match (request["method"].as_str().unwrap(), submission) {
        ("chain_getBlockHash" | "chain_getFinalizedHead", _) => json!(hash),
        ("chain_getHeader", _) => {
            let digest = json!({ "logs": [] });
            json!({ "parentHash": hash, "number": "0x9", "stateRoot": hash, "extrinsicsRoot": hash, "digest": digest })
        }
        ("state_getRuntimeVersion", _) => json!({ "specVersion": 1, "transactionVersion": 1 }),
        ("system_accountNextIndex", _) => json!(0),
        ("author_submitAndWatchExtrinsic", Ok(statuses)) => {
            let answer = json!({ "jsonrpc": "2.0", "id": request["id"], "result": "watched" });
            let notify = |status| {
                let params = json!({ "subscription": "watched", "result": status });
                json!({ "jsonrpc": "2.0", "method": "author_extrinsicUpdate", "params": params })
            };
            return ([answer].into_iter().chain(statuses.iter().map(notify)).collect(), true);
        }
        ("author_submitAndWatchExtrinsic", Err(error)) => {
            return (vec![json!({ "jsonrpc": "2.0", "id": request["id"], "error": error })], false);
        }
        (method, _) => panic!("{method}"),
    };
    (vec![json!({ "jsonrpc": "2.0", "id": request["id"], "result": result })], false)
}
