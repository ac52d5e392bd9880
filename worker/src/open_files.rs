//! How many files the worker may have open: each connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Why connections may be refused for want of files.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "this process may have {allowed} files open (RLIMIT_NOFILE), and {connections} connections need {needed}: the \
     last of them will find no room. Raise the hard limit (`ulimit -Hn {needed}`, or `LimitNOFILE={needed}` of a \
     systemd unit), or lower `--max-connections`"
)]
pub struct TooFewFiles {
    pub allowed: u64,
    pub needed: u64,
    pub connections: u32,
}

/// Sees to it that so many clients may be connected, as far as the hard limit allows.
pub fn provide_for(connections: u32) -> Result<(), TooFewFiles> {
    let needed = u64::from(connections).saturating_add(OTHERS);
    let limit = getrlimit(Resource::Nofile);
    let wanted = raised(limit, needed);
    // What is refused shows in what is allowed.
    if wanted != limit && setrlimit(Resource::Nofile, wanted).is_ok() {
        tracing::debug!(files = ?wanted.current, "raised the number of files that may be open");
    }
    // None stands for no limit.
    match getrlimit(Resource::Nofile).current {
        Some(allowed) if allowed < needed => Err(TooFewFiles { allowed, needed, connections }),
        _ => Ok(()),
    }
}

/// A limit with room for `needed` files; never lower than it is, nor above the hard limit.
fn raised(limit: Rlimit, needed: u64) -> Rlimit {
    let Some(current) = limit.current else { return limit };
    Rlimit { current: Some(current.max(needed.min(limit.maximum.unwrap_or(needed)))), ..limit }
}

/// What else is open: ports and their connections, the store, the link, layer one, the runtime's own.
const OTHERS: u64 = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_raised_to_what_is_needed_within_the_hard_limit() {
        let limit = |current, maximum| Rlimit { current, maximum };
        for (before, needed, after) in [
            (limit(Some(1_024), Some(4_096)), 1_500, limit(Some(1_500), Some(4_096))),
            (limit(Some(1_024), Some(4_096)), 9_000, limit(Some(4_096), Some(4_096))),
            (limit(Some(1_024), None), 9_000, limit(Some(9_000), None)),
            (limit(Some(1_024), Some(4_096)), 100, limit(Some(1_024), Some(4_096))),
            (limit(None, None), 9_000, limit(None, None)),
        ] {
            assert_eq!(raised(before, needed), after);
        }
    }

    #[test]
    fn there_is_room_for_connections_or_it_is_said_what_to_do() {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let (Some(current), Some(maximum)) = (current, maximum) else { return };
        let connections = |files: u64| u32::try_from(files - OTHERS).unwrap_or(u32::MAX);
        let one_more = connections(maximum.min(current + 1).max(OTHERS));
        assert_eq!(provide_for(one_more), Ok(()));
        assert!(getrlimit(Resource::Nofile).current.unwrap() >= u64::from(one_more) + OTHERS);

        let Ok(too_many) = u32::try_from(maximum) else { return };
        let error = provide_for(too_many).unwrap_err();
        let needed = maximum + OTHERS;
        assert_eq!(error, TooFewFiles { allowed: maximum, needed, connections: too_many });
        assert!(error.to_string().contains(&format!("`LimitNOFILE={needed}`")), "{error}");
        assert!(error.to_string().contains("`--max-connections`"), "{error}");
    }
}
