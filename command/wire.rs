// SPDX-License-Identifier: GPL-2.0

//! Little-endian fields, one after the other.

use super::{
    Command,
    DeviceError,
    EncodeError,
    Header,
    Rect,
    Response,
    ResponseError,
    ResponseHeader,
    HEADER_SIZE,
    RESP_ERR_FIRST,
    RESP_ERR_LAST, //
};

/// Writes little-endian fields one after the other.
pub(super) struct Writer<'a> {
    rest: &'a mut [u8],
    needed: usize,
    available: usize,
}

impl<'a> Writer<'a> {
    /// Starts a command of type `C` with its header.
    pub(super) fn command<C: Command>(
        header: Header,
        out: &'a mut [u8],
    ) -> Result<Self, EncodeError> {
        let available = out.len();
        let mut writer = Self {
            rest: out,
            needed: C::SIZE,
            available,
        };
        writer.put_u32(C::TYPE)?;
        writer.put_u32(header.flags)?;
        writer.put_u64(header.fence_id)?;
        writer.put_u32(header.ctx_id)?;
        writer.put([header.ring_idx, 0, 0, 0])?;
        Ok(writer)
    }

    pub(super) fn put<const N: usize>(&mut self, bytes: [u8; N]) -> Result<(), EncodeError> {
        let (head, tail) = core::mem::take(&mut self.rest)
            .split_first_chunk_mut::<N>()
            .ok_or(EncodeError {
                needed: self.needed,
                available: self.available,
            })?;
        *head = bytes;
        self.rest = tail;
        Ok(())
    }

    pub(super) fn put_u32(&mut self, value: u32) -> Result<(), EncodeError> {
        self.put(value.to_le_bytes())
    }

    pub(super) fn put_u64(&mut self, value: u64) -> Result<(), EncodeError> {
        self.put(value.to_le_bytes())
    }

    pub(super) fn put_rect(&mut self, rect: Rect) -> Result<(), EncodeError> {
        self.put_u32(rect.x)?;
        self.put_u32(rect.y)?;
        self.put_u32(rect.width)?;
        self.put_u32(rect.height)
    }

    /// Number of bytes written.
    pub(super) fn finish(self) -> usize {
        self.available - self.rest.len()
    }
}

/// Reads little-endian fields one after the other.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    needed: usize,
    got: usize,
}

impl<'a> Reader<'a> {
    /// `needed` is the size of the whole response, for the error.
    pub(super) fn new(bytes: &'a [u8], needed: usize) -> Self {
        Self {
            rest: bytes,
            needed,
            got: bytes.len(),
        }
    }

    /// Starts a response, the whole of which has `needed` bytes: what its header says comes before
    /// its length, because an error has no more than a header.
    pub(super) fn response(
        bytes: &'a [u8],
        kind: u32,
        needed: usize,
    ) -> Result<Self, ResponseError> {
        let header = ResponseHeader::decode(bytes)?;
        if matches!(header.kind, RESP_ERR_FIRST..=RESP_ERR_LAST) {
            return Err(ResponseError::Device(DeviceError(header.kind)));
        }
        if header.kind != kind {
            return Err(ResponseError::Unexpected(header.kind));
        }
        let mut reader = Self::new(bytes, needed);
        if bytes.len() < needed {
            return Err(reader.short());
        }
        reader.get::<HEADER_SIZE>()?;
        Ok(reader)
    }

    /// What is not read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn short(&self) -> ResponseError {
        ResponseError::Short {
            needed: self.needed,
            got: self.got,
        }
    }

    pub(super) fn get<const N: usize>(&mut self) -> Result<[u8; N], ResponseError> {
        let (head, tail) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or_else(|| self.short())?;
        self.rest = tail;
        Ok(*head)
    }

    pub(super) fn get_u32(&mut self) -> Result<u32, ResponseError> {
        self.get().map(u32::from_le_bytes)
    }

    pub(super) fn get_u64(&mut self) -> Result<u64, ResponseError> {
        self.get().map(u64::from_le_bytes)
    }
}
