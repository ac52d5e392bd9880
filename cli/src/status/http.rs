//! One GET of plain HTTP, with an end in time and size.

use std::{fmt, time::Duration};

use anyhow::{Context, anyhow};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{
    Request, StatusCode, Uri,
    body::Bytes,
    client::conn::http1,
    header::{CONNECTION, HOST},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use crate::failure::Failure;

/// Where a worker's status is: `http://host:port/status`.
#[derive(Clone, Debug)]
pub struct StatusUrl {
    /// Without the brackets of an IPv6 address.
    host: String,
    port: u16,
    authority: String,
}

impl fmt::Display for StatusUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "http://{}{PATH}", self.authority)
    }
}

/// Reads `http://host:port`; the path may stand behind it.
pub fn parse_status_url(text: &str) -> Result<StatusUrl, &'static str> {
    let wrong = "a worker's health port is like http://host:port";
    let uri: Uri = text.parse().map_err(|_| wrong)?;
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or(wrong)?;
    if uri.scheme_str() != Some("http") || uri.query().is_some() || !["/", PATH].contains(&uri.path()) {
        return Err(wrong);
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_string();
    Ok(StatusUrl { host, port: authority.port_u16().unwrap_or(80), authority: authority.to_string() })
}

/// The body of an answer with code 200.
pub async fn get(url: &StatusUrl, limit: Duration) -> Result<Vec<u8>, Failure> {
    let late = || Failure::could_not_run(anyhow!("{url} did not answer within {} ms", limit.as_millis()));
    timeout(limit, exchange(url)).await.unwrap_or_else(|_| Err(late().with_hint(IS_THAT_THE_HEALTH_PORT)))
}

async fn exchange(url: &StatusUrl) -> Result<Vec<u8>, Failure> {
    let tcp = TcpStream::connect((url.host.as_str(), url.port)).await;
    let tcp = tcp.with_context(|| format!("cannot reach a worker at {url}")).map_err(|error| {
        Failure::could_not_run(error)
            .with_hint("is the worker running? --url or CLOISTER_WORKER_STATUS_URL names its health port")
    })?;
    let no_http = |error| {
        let error = anyhow::Error::from(error).context(format!("{url} does not speak HTTP as it should"));
        Failure::could_not_run(error).with_hint(IS_THAT_THE_HEALTH_PORT)
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(tcp)).await.map_err(no_http)?;
    // It ends with the answer, or when the sender is dropped.
    tokio::spawn(connection);
    let request = Request::get(PATH).header(HOST, &url.authority).header(CONNECTION, "close");
    let request = request.body(Empty::<Bytes>::new()).map_err(Failure::could_not_run)?;
    let answer = sender.send_request(request).await.map_err(no_http)?;
    let code = answer.status();
    if code != StatusCode::OK {
        return Err(Failure::could_not_run(anyhow!("{url} answers with {code}")).with_hint(IS_THAT_THE_HEALTH_PORT));
    }
    let body = Limited::new(answer.into_body(), MAX_BODY).collect().await;
    let body = body.map_err(|error| Failure::could_not_run(anyhow!("the answer of {url} is cut off: {error}")))?;
    Ok(body.to_bytes().to_vec())
}

pub const IS_THAT_THE_HEALTH_PORT: &str = "is that the worker's health port, 4545 by default?";
const PATH: &str = "/status";
/// Some twenty numbers and names.
const MAX_BODY: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// Answers one request with bytes, and then closes or not.
    async fn answering(answer: Vec<u8>, closes: bool) -> StatusUrl {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = parse_status_url(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        tokio::spawn(async move {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                tcp.read_buf(&mut request).await.unwrap();
            }
            assert!(request.starts_with(b"GET /status HTTP/1.1\r\n"));
            // A client that has read enough is gone.
            let _ = tcp.write_all(&answer).await;
            if !closes {
                std::future::pending::<()>().await;
            }
        });
        url
    }

    fn ok(length: usize, body: &str) -> Vec<u8> {
        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn the_body_is_what_was_sent() {
        assert_eq!(get(&answering(ok(4, "body"), false).await, LONG).await.unwrap(), b"body");
        let unbounded = b"HTTP/1.1 200 OK\r\n\r\nto the end".to_vec();
        assert_eq!(get(&answering(unbounded, true).await, LONG).await.unwrap(), b"to the end");
    }

    #[tokio::test]
    async fn what_goes_wrong_is_said() {
        let too_long = " ".repeat(MAX_BODY + 1);
        for (answer, expected) in [
            (b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec(), "answers with 404 Not Found"),
            (b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(), "does not speak HTTP as it should"),
            (ok(too_long.len(), &too_long), "cut off: length limit exceeded"),
            (ok(5, "body"), "cut off"),
            (Vec::new(), "does not speak HTTP as it should"),
        ] {
            let url = answering(answer, true).await;
            let failure = get(&url, LONG).await.unwrap_err();
            let message = failure.message();
            assert!(message.contains(expected) && message.contains(&url.to_string()), "{message}");
            assert_eq!(failure.code, crate::failure::COULD_NOT_RUN);
        }
    }

    #[tokio::test]
    async fn who_does_not_answer_is_not_awaited_for_ever() {
        for answer in [Vec::new(), ok(5, "body")] {
            let url = answering(answer, false).await;
            let failure = get(&url, Duration::from_millis(50)).await.unwrap_err();
            assert_eq!(failure.message(), format!("{url} did not answer within 50 ms"));
            assert_eq!(failure.hint.as_deref(), Some(IS_THAT_THE_HEALTH_PORT));
        }
    }

    #[test]
    fn only_plain_addresses_of_a_port_are_taken() {
        for (text, shown) in [
            ("http://127.0.0.1:4545", "http://127.0.0.1:4545/status"),
            ("http://worker/", "http://worker/status"),
            ("http://[::1]:1/status", "http://[::1]:1/status"),
        ] {
            assert_eq!(parse_status_url(text).unwrap().to_string(), shown);
        }
        for wrong in
            ["", "127.0.0.1:4545", "https://a:1", "http://", "http://a:1/metrics", "http://u:p@a", "http://a/?b"]
        {
            assert!(parse_status_url(wrong).is_err(), "{wrong}");
        }
    }
}
