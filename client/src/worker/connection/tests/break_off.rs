//! An enclave, or somebody between, that breaks off at each point of a submission.

use tokio::io::AsyncWriteExt;

use super::*;

/// What the other end does with a submission.
#[derive(Clone, Debug)]
enum Does {
    HangsUp,
    HangsUpInTheMiddleOfAFrame,
    SaysNothing,
    SaysNoJson,
    Answers(Vec<u8>),
    Complains(i64),
}

#[derive(Clone, Copy, Debug)]
enum Way {
    Alone,
    Watched,
    Batch,
}

impl Way {
    const ALL: [Self; 3] = [Self::Alone, Self::Watched, Self::Batch];

    fn method(self) -> &'static str {
        match self {
            Self::Alone => "author_submitExtrinsic",
            Self::Watched => SUBMIT_AND_WATCH,
            Self::Batch => "author_submitBatch",
        }
    }

    async fn submit(self, worker: &Worker) -> Result<(), Error> {
        match self {
            Self::Alone => worker.submit(&request()).await.map(drop),
            Self::Watched => worker.submit_and_watch(&request()).await.map(drop),
            Self::Batch => worker.submit_batch(&[request(), request()]).await.map(drop),
        }
    }
}

impl Enclave {
    /// Keeps the connection afterwards, unless it hangs up.
    async fn on_submission(mut self, way: Way, does: Does) {
        let request = self.request().await;
        assert_eq!(request["method"], way.method());
        match does {
            Does::HangsUp => return,
            Does::HangsUpInTheMiddleOfAFrame => {
                // The head of a text of 126 bytes or more, and no text.
                self.0.get_mut().write_all(&[0x81, 126, 1]).await.unwrap();
                return;
            }
            Does::SaysNothing => {}
            Does::SaysNoJson => {
                self.0.send(Message::text("{")).await.unwrap();
            }
            Does::Answers(bytes) => self.answer(&request, &bytes).await,
            Does::Complains(code) => {
                let error = json!({ "code": code, "message": "complaint" });
                self.send(json!({ "jsonrpc": "2.0", "id": request["id"], "error": error })).await;
            }
        }
        while self.0.next().await.is_some() {}
    }
}

async fn submitted(way: Way, does: Does) -> Error {
    let (worker, enclave) = connection().await;
    let waits_in_vain = matches!(does, Does::SaysNothing | Does::SaysNoJson);
    let worker = if waits_in_vain { worker.with_answer_limit(Duration::from_millis(20)) } else { worker };
    tokio::spawn(enclave.on_submission(way, does));
    way.submit(&worker).await.unwrap_err()
}

#[tokio::test]
async fn what_was_sent_and_not_answered_is_perhaps_executed() {
    let one_answer = RpcReturnValue::ok(vec![Ok::<_, String>(OPERATION)]).encode();
    let cases: [(Does, fn(&Error) -> bool); 7] = [
        (Does::HangsUp, |why| matches!(why, Error::Closed)),
        (Does::HangsUpInTheMiddleOfAFrame, |why| matches!(why, Error::Closed)),
        (Does::SaysNothing, |why| matches!(why, Error::TimedOut { .. })),
        (Does::SaysNoJson, |why| matches!(why, Error::TimedOut { .. })),
        (Does::Answers(vec![1, 2]), |why| matches!(why, Error::Malformed { .. })),
        // Of a batch of two, or no hash at all.
        (Does::Answers(one_answer), |why| matches!(why, Error::Malformed { .. })),
        // The answer was too large: that of which it is an answer was executed.
        (Does::Complains(-32_011), |why| matches!(why, Error::NotUnderstood { code: -32_011, .. })),
    ];
    for way in Way::ALL {
        for (does, expected) in cases.clone() {
            let error = submitted(way, does.clone()).await;
            let why = perhaps_executed(&error, way.method());
            assert!(expected(why), "{way:?} {does:?}: {why:?}");
            let said = format!("{} was sent, and what became of it is not known", way.method());
            assert_eq!(error.to_string(), said);
        }
    }
}

#[tokio::test]
async fn what_the_enclave_refuses_or_did_not_look_at_is_not() {
    for way in Way::ALL {
        let error = submitted(way, Does::Answers(RpcReturnValue::error("no").encode())).await;
        assert!(matches!(&error, Error::Refused(reason) if reason == "no") && error.is_refusal(), "{error:?}");
        for looked_at in [-32_700, -32_600, -32_601, -32_602, -32_007, -32_010] {
            let error = submitted(way, Does::Complains(looked_at)).await;
            assert!(matches!(error, Error::NotUnderstood { code, .. } if code == looked_at), "{error:?}");
        }
    }
}

#[tokio::test]
async fn what_was_not_sent_is_not() {
    for way in Way::ALL {
        let (worker, enclave) = connection().await;
        drop(enclave);
        worker.commands.closed().await;
        let error = way.submit(&worker).await.unwrap_err();
        assert!(matches!(error, Error::Closed) && !error.is_refusal(), "{error:?}");
    }
}

#[tokio::test]
async fn what_was_taken_is_perhaps_executed_when_its_statuses_end_or_make_no_sense() {
    let nonsense: [fn() -> Option<Vec<u8>>; 4] = [
        || None,
        || Some(vec![7; 3]),
        || Some(DirectRequestStatus::Ok.encode()),
        // An enclave that has taken an operation refuses it by a status.
        || Some(DirectRequestStatus::Error.encode()),
    ];
    for told in nonsense {
        let (worker, mut enclave) = connection().await;
        tokio::spawn(async move {
            let submitted = enclave.request().await;
            enclave.answer(&submitted, OPERATION.as_bytes()).await;
            let Some(status) = told() else { return };
            let params = json!({ "result": to_hex(&status), "subscription": to_hex(OPERATION.as_bytes()) });
            enclave.send(json!({ "jsonrpc": "2.0", "method": SUBMIT_AND_WATCH, "params": params })).await;
            while enclave.0.next().await.is_some() {}
        });
        let error = worker.submit_and_watch(&request()).await.unwrap().in_block().await.unwrap_err();
        let why = perhaps_executed(&error, &followed());
        assert!(matches!(why, Error::Closed | Error::Malformed { .. } | Error::Refused(_)), "{why:?}");
    }
}
