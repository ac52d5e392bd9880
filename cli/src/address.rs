//! Addresses whose port may stand apart.

/// The port of a node's JSON-RPC, which an address `ws://host` means.
const NODE_PORT: u16 = 9944;

/// A node's address with the port that is given apart, its own, or the usual one. `wss://host` has that of HTTPS.
pub fn of_node(url: &str, port: Option<u16>) -> String {
    let usual = url.starts_with("ws://").then_some(NODE_PORT);
    with_port(url, port, usual)
}

/// A worker's address with the port that is given apart, or its own.
pub fn of_worker(url: &str, port: Option<u16>) -> String {
    with_port(url, port, None)
}

fn with_port(url: &str, given: Option<u16>, usual: Option<u16>) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.into() };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (host, own) = match authority.rsplit_once(':') {
        // Else it is a part of an IPv6 address.
        Some((host, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => (host, Some(port)),
        _ => (authority, None),
    };
    let given = given.map(|port| port.to_string());
    let own = own.filter(|port| !port.is_empty()).map(Into::into);
    match given.or(own).or(usual.map(|port| port.to_string())) {
        Some(port) => format!("{scheme}://{host}:{port}{path}"),
        None => format!("{scheme}://{host}{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_given_apart_replaces_or_completes_the_urls() {
        for (url, port, expected) in [
            ("ws://172.17.0.1", Some(9954), "ws://172.17.0.1:9954"),
            ("ws://172.17.0.1:1", Some(9954), "ws://172.17.0.1:9954"),
            ("ws://172.17.0.1", None, "ws://172.17.0.1:9944"),
            ("ws://172.17.0.1:1", None, "ws://172.17.0.1:1"),
            ("ws://host:", None, "ws://host:9944"),
            ("wss://node.example", None, "wss://node.example"),
            ("wss://node.example/rpc?key=1", Some(7), "wss://node.example:7/rpc?key=1"),
            ("ws://[::1]", Some(7), "ws://[::1]:7"),
            ("ws://[::1]:8/", Some(7), "ws://[::1]:7/"),
            ("ws://[::1]:8/", None, "ws://[::1]:8/"),
            ("ws://name:1@host", Some(7), "ws://name:1@host:7"),
            ("nonsense", Some(7), "nonsense"),
        ] {
            assert_eq!(of_node(url, port), expected, "{url}");
        }
        assert_eq!(of_worker("wss://worker", Some(2100)), "wss://worker:2100");
        assert_eq!(of_worker("wss://worker", None), "wss://worker");
    }
}
