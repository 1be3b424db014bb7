//! Certificates and keys from the bench: put together from pieces, checked, kept.
//!
//! They come in pieces, as a control frame is shorter than a certificate. Nothing of it is kept
//! before the last piece is there and the whole is what its place is for.

use alloc::vec::Vec;

use firmware_wire::{CERTIFICATE_BYTES_MAX, CertificateChunk, CertificateSlot, Refusal};

use crate::{
    heap,
    storage::{self, StorageError},
    tls,
};

/// The pieces so far.
#[derive(Debug, Default)]
pub struct Assembly {
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    slot: CertificateSlot,
    total: usize,
    bytes: Vec<u8>,
}

impl Assembly {
    /// Takes a piece, and keeps the whole in flash when it was the last one.
    ///
    /// # Errors
    /// [`Refusal::OutOfRange`] for a piece out of its turn, a length above
    /// [`CERTIFICATE_BYTES_MAX`], or bytes that are no certificate or key; what came before is
    /// forgotten then. [`Refusal::Storage`] when there is too little memory or flash for it.
    pub async fn take(&mut self, piece: &CertificateChunk) -> Result<(), Refusal> {
        let Some(whole) = self.add(piece)? else {
            return Ok(());
        };
        storage::with(|storage| storage.set_certificate(whole.slot, &whole.bytes))
            .await
            .map_err(|error: StorageError| {
                defmt::error!("certificate not kept: {}", error);
                Refusal::Storage
            })
    }

    /// The whole, once it is there.
    fn add(&mut self, piece: &CertificateChunk) -> Result<Option<Current>, Refusal> {
        let total = usize::from(piece.total);
        let mut current = match (piece.offset, self.current.take()) {
            (0, _) => Current {
                slot: piece.slot,
                total,
                bytes: Vec::new(),
            },
            (offset, Some(current))
                if current.slot == piece.slot
                    && current.total == total
                    && current.bytes.len() == usize::from(offset) =>
            {
                current
            }
            _ => return Err(Refusal::OutOfRange),
        };
        let length = current.bytes.len() + piece.bytes.len();
        if total > CERTIFICATE_BYTES_MAX || length > total {
            return Err(Refusal::OutOfRange);
        }
        if piece.offset == 0 {
            current.bytes = heap::vec(total).map_err(|heap::Refused| Refusal::Storage)?;
        }
        current.bytes.extend_from_slice(&piece.bytes);
        if length < total {
            // An empty piece would never come to an end.
            if piece.bytes.is_empty() {
                return Err(Refusal::OutOfRange);
            }
            self.current = Some(current);
            return Ok(None);
        }
        if total > 0 {
            tls::check(current.slot, &current.bytes).map_err(|unsound| match unsound {
                tls::Unsound::Malformed => Refusal::OutOfRange,
                tls::Unsound::NoMemory => Refusal::Storage,
            })?;
        }
        Ok(Some(current))
    }
}
