//! An image into the flash, through probe-rs; left out when it is there already.
//!
//! Whether it is there is not taken on trust: the bench remembers which image it wrote last, and then
//! lets probe-rs compare the whole of it with the flash. Another tool may have written since.

use std::{
    cell::RefCell,
    fs,
    io::Cursor,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use probe_rs::flashing::{
    DownloadOptions, FlashError, FlashProgress as Progress, ProgressEvent, ProgressOperation,
    image_format,
};
use serde::{Deserialize, Serialize};

use crate::{
    BenchError, FirmwareImage,
    event::{BenchEvent, FlashProgress},
    session::Worker,
    shared::Shared,
};

/// What flashing came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlashReport {
    /// Bytes in the flash that belong to the image: bootloader, partition table, application.
    pub bytes: u64,
    /// How long it took, wall time.
    #[serde(rename = "duration_us", with = "crate::event::micros")]
    pub duration: Duration,
    /// The image was there already; it was compared, not written.
    pub skipped: bool,
}

/// Which image was written last, kept with the rig.
pub(crate) struct FlashRecord(pub(crate) PathBuf);

impl FlashRecord {
    fn digest(&self) -> Option<String> {
        fs::read_to_string(&self.0).ok()
    }

    /// Losing the record costs a comparison, no more.
    fn keep(&self, digest: &str) {
        if let Some(directory) = self.0.parent() {
            let _ = fs::create_dir_all(directory);
        }
        let _ = fs::write(&self.0, digest);
    }

    fn forget(&self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Worker {
    /// Sees to it that `image` is in the flash, and listens to it from now on. The chip is left
    /// halted somewhere: it must be reset.
    pub(crate) fn flash(
        &mut self,
        image: &FirmwareImage,
        record: &FlashRecord,
    ) -> Result<FlashReport, BenchError> {
        let start = Instant::now();
        self.poll();
        self.pause_flow();
        self.expect_reset();
        let hurry = self.hurry();
        let shared = self.shared.clone();
        let digest = hex(&image.digest());
        let session = self.session()?;
        let mut loader = session.target().flash_loader();
        let format = image_format(FORMAT).ok_or_else(|| BenchError::Probe {
            doing: format!("finding the image format `{FORMAT}`"),
            source: "probe-rs does not know it".into(),
        })?;
        loader
            .load_image(
                session,
                &mut Cursor::new(image.elf()),
                format.create_loader(None),
                None,
            )
            .map_err(|error| {
                BenchError::probe(format!("laying out `{}`", image.path().display()), error)
            })?;
        let bytes = loader.data().map(|(_, data)| data.len() as u64).sum();
        let mut skipped = false;
        if record.digest().as_deref() == Some(&digest) {
            skipped = match loader.verify(session, &mut Progress::empty()) {
                Ok(()) => true,
                Err(FlashError::Verify) => false,
                Err(error) => return Err(BenchError::probe("comparing the flash", error)),
            };
        }
        if skipped {
            shared.report((None, BenchEvent::Flash(FlashProgress::Skipped)));
        } else {
            record.forget();
            shared.report((None, BenchEvent::Flash(FlashProgress::Began { bytes })));
            let tally = RefCell::new(Tally::default());
            let mut options = DownloadOptions::default();
            options.verify = true;
            options.progress = Progress::new(|event| tally.borrow_mut().take(&event, &shared));
            loader
                .commit(session, options)
                .map_err(|error| BenchError::probe("flashing", error))?;
            record.keep(&digest);
        }
        drop(hurry);
        self.listen_to(image, !skipped);
        self.halt_is_told();
        let duration = start.elapsed();
        self.shared
            .report((None, BenchEvent::Flash(FlashProgress::Done { duration })));
        Ok(FlashReport {
            bytes,
            duration,
            skipped,
        })
    }
}

/// Espressif's image format: bootloader, partition table and application from an ELF.
const FORMAT: &str = "idf";

/// Adds up what the debugger reports page by page.
#[derive(Default)]
struct Tally {
    erased: u64,
    written: u64,
    verified: u64,
    to_write: Option<u64>,
}

impl Tally {
    fn take(&mut self, event: &ProgressEvent, shared: &Shared) {
        let progress = match event {
            ProgressEvent::AddProgressBar {
                operation: ProgressOperation::Program,
                total,
            } => {
                self.to_write = *total;
                return;
            }
            ProgressEvent::Progress {
                operation, size, ..
            } => match operation {
                ProgressOperation::Erase => {
                    self.erased += size;
                    FlashProgress::Erased { bytes: self.erased }
                }
                ProgressOperation::Program => {
                    self.written += size;
                    FlashProgress::Written {
                        bytes: self.written,
                        of: self.to_write,
                    }
                }
                ProgressOperation::Verify => {
                    self.verified += size;
                    FlashProgress::Verified {
                        bytes: self.verified,
                    }
                }
                ProgressOperation::Fill => return,
            },
            ProgressEvent::DiagnosticMessage { message } => {
                tracing::debug!("flash algorithm: {}", message.trim_end());
                return;
            }
            _ => return,
        };
        shared.report((None, BenchEvent::Flash(progress)));
    }
}

/// Where the record of the rig with this state directory is.
pub(crate) fn record(state_directory: &Path) -> FlashRecord {
    FlashRecord(state_directory.join("flashed"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
