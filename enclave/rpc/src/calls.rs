//! The calls in a message, apart from any connection.

use crate::{Call, Method, ParamsError, message::Incoming};

/// What a connection makes of a client's message: for each request in it that names a method, the call.
pub fn calls(message: &[u8], max_batch: usize) -> Vec<Result<Option<Call>, ParamsError>> {
    let requests = match Incoming::parse(message, max_batch) {
        Incoming::Single(request) => vec![request],
        Incoming::Batch(requests) => requests,
    };
    let known =
        requests.into_iter().flatten().filter_map(|request| Some((Method::from_name(&request.method)?, request)));
    known.map(|(method, request)| Call::parse(method, &request.params)).collect()
}
