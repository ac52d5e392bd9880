//! Frames: length (u32, little endian, at most [`MAX_FRAME`]), then one SCALE message that fills the frame.

use core::marker::PhantomData;

use codec::{DecodeWithMemLimit, DecodeWithMemTracking, Encode};
use tokio_util::{
    bytes::{Buf, BytesMut},
    codec::Decoder,
};

/// Most bytes of a frame behind its length.
pub const MAX_FRAME: usize = 4 * 1024 * 1024;

/// Why a link ended or a message was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// A frame would be longer than [`MAX_FRAME`].
    #[error("frame of {length} bytes exceeds {MAX_FRAME}")]
    FrameTooLarge {
        /// Bytes, as announced or as encoded.
        length: usize,
    },
    /// A frame does not hold exactly one message.
    #[error("malformed message: {0}")]
    Malformed(codec::Error),
    /// Bytes follow the message within its frame.
    #[error("{surplus} bytes follow the message in its frame")]
    Surplus {
        /// How many.
        surplus: usize,
    },
    /// The stream ended within a frame.
    #[error("the link ended within a frame")]
    Truncated,
    /// The other end is gone.
    #[error("the link is closed")]
    Closed,
    /// The stream failed.
    #[error("the link's stream failed: {0}")]
    Io(#[from] std::io::Error),
}

/// A message with its length before it.
///
/// # Errors
/// [`LinkError::FrameTooLarge`].
pub fn encode<M: Encode>(message: &M) -> Result<Vec<u8>, LinkError> {
    let mut frame = vec![0; LENGTH_BYTES];
    message.encode_to(&mut frame);
    let length = frame.len().saturating_sub(LENGTH_BYTES);
    let too_large = || LinkError::FrameTooLarge { length };
    if length > MAX_FRAME {
        return Err(too_large());
    }
    let prefix = u32::try_from(length).map_err(|_| too_large())?.to_le_bytes();
    frame.get_mut(..LENGTH_BYTES).ok_or_else(too_large)?.copy_from_slice(&prefix);
    Ok(frame)
}

/// Cuts a stream into messages.
#[derive(Debug)]
pub struct FrameDecoder<M>(PhantomData<fn() -> M>);

impl<M> Default for FrameDecoder<M> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<M: DecodeWithMemTracking> Decoder for FrameDecoder<M> {
    type Item = M;
    type Error = LinkError;

    fn decode(&mut self, input: &mut BytesMut) -> Result<Option<M>, LinkError> {
        let Some(prefix) = input.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let length = u32::from_le_bytes(*prefix);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > MAX_FRAME {
            return Err(LinkError::FrameTooLarge { length });
        }
        let total = length.saturating_add(LENGTH_BYTES);
        if input.len() < total {
            input.reserve(total.saturating_sub(input.len()));
            return Ok(None);
        }
        let mut frame = input.split_to(total);
        frame.advance(LENGTH_BYTES);
        let mut rest: &[u8] = &frame;
        // Many empty vectors take a byte each on the wire but 24 in memory, so a bound on the frame is not enough.
        let message = M::decode_with_mem_limit(&mut rest, MAX_DECODED).map_err(LinkError::Malformed)?;
        if rest.is_empty() { Ok(Some(message)) } else { Err(LinkError::Surplus { surplus: rest.len() }) }
    }

    fn decode_eof(&mut self, input: &mut BytesMut) -> Result<Option<M>, LinkError> {
        match self.decode(input)? {
            None if !input.is_empty() => Err(LinkError::Truncated),
            message => Ok(message),
        }
    }
}

const LENGTH_BYTES: usize = 4;

/// Most bytes of memory that a decoded message may take.
const MAX_DECODED: usize = 4 * MAX_FRAME;
