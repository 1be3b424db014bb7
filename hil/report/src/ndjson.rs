//! The recording of a run: a header, then one event a line.
//!
//! A recording is read long after the run, by another version of this program, and perhaps after
//! a power cut in the middle of a line: an unknown version is refused in words, and a last line
//! that was cut is left out and told of.

use std::fs::File;
use std::io::{self, BufRead, BufWriter, Write};
use std::path::{Path, PathBuf};

use hil_runner::{EVENT_FORMAT_VERSION, Event, RecordError, Sink, What};
use serde::{Deserialize, Serialize};

const FORMAT: &str = "hil-events";

#[derive(Serialize, Deserialize)]
struct Header {
    format: String,
    version: u32,
}

/// Writes a recording. Progress is not recorded: it is nothing but a display.
pub struct Recorder<W: Write> {
    path: PathBuf,
    writer: BufWriter<W>,
}

impl Recorder<File> {
    /// A recording in a new file.
    ///
    /// # Errors
    /// When the file can't be created or written.
    pub fn create(path: &Path) -> Result<Self, RecordError> {
        let file = File::create(path).map_err(|source| RecordError {
            path: path.to_owned(),
            source,
        })?;
        Recorder::new(path, file)
    }
}

impl<W: Write> Recorder<W> {
    /// A recording into `writer`; `path` is what messages call it.
    ///
    /// # Errors
    /// When the header can't be written.
    pub fn new(path: &Path, writer: W) -> Result<Self, RecordError> {
        let mut recorder = Recorder {
            path: path.to_owned(),
            writer: BufWriter::new(writer),
        };
        recorder.line(
            &Header {
                format: FORMAT.to_owned(),
                version: EVENT_FORMAT_VERSION,
            },
            true,
        )?;
        Ok(recorder)
    }

    fn line(&mut self, content: &impl Serialize, flush: bool) -> Result<(), RecordError> {
        let written = serde_json::to_writer(&mut self.writer, content)
            .map_err(io::Error::from)
            .and_then(|()| self.writer.write_all(b"\n"))
            .and_then(|()| if flush { self.writer.flush() } else { Ok(()) });
        written.map_err(|source| RecordError {
            path: self.path.clone(),
            source,
        })
    }
}

impl<W: Write + Send> Sink for Recorder<W> {
    fn event(&mut self, event: &Event) -> Result<(), RecordError> {
        // What comes in crowds waits in the buffer; all else is on the disk at once.
        let flush = match event.what {
            What::StepProgress { .. } => return Ok(()),
            What::Log { .. } | What::Device { .. } | What::Memory(_) | What::Message { .. } => {
                false
            }
            _ => true,
        };
        self.line(event, flush)
    }
}

/// Reads a recording, event by event.
pub struct Recording<R> {
    lines: R,
    number: u64,
    cut: bool,
    done: bool,
}

/// Why a recording can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It can't be read at all.
    #[error("can't read the recording")]
    Io(#[from] io::Error),
    /// Its first line is no header.
    #[error(
        "this is no recording of a run: its first line is not a `{FORMAT}` header; name an `events.ndjson`"
    )]
    NoHeader,
    /// It was written by a program of another time.
    #[error(
        "the recording has format version {found}, this program reads version {EVENT_FORMAT_VERSION}; \
         replay it with the `hil` that recorded it"
    )]
    Version {
        /// The version found.
        found: u32,
    },
    /// A line in the middle is damaged.
    #[error("line {line} of the recording is damaged: {reason}")]
    Damaged {
        /// From 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
}

impl<R: BufRead> Recording<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// All of [`ReadError`] but [`ReadError::Damaged`].
    pub fn open(mut lines: R) -> Result<Self, ReadError> {
        let mut first = Vec::new();
        lines.read_until(b'\n', &mut first)?;
        let header: Header = serde_json::from_slice(&first).map_err(|_| ReadError::NoHeader)?;
        if header.format != FORMAT {
            return Err(ReadError::NoHeader);
        }
        if header.version != EVENT_FORMAT_VERSION {
            return Err(ReadError::Version {
                found: header.version,
            });
        }
        Ok(Recording {
            lines,
            number: 1,
            cut: false,
            done: false,
        })
    }

    /// Whether the last line was cut, so that the run's end is not in the recording.
    pub fn was_cut(&self) -> bool {
        self.cut
    }

    fn read(&mut self) -> Result<Option<Event>, ReadError> {
        let mut line = Vec::new();
        if self.lines.read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        let whole = line.ends_with(b"\n");
        match serde_json::from_slice(&line) {
            Ok(event) => Ok(Some(event)),
            Err(_) if !whole => {
                self.cut = true;
                Ok(None)
            }
            Err(error) => Err(ReadError::Damaged {
                line: self.number,
                reason: error.to_string(),
            }),
        }
    }
}

impl<R: BufRead> Iterator for Recording<R> {
    type Item = Result<Event, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.read().transpose();
        self.done = !matches!(next, Some(Ok(_)));
        next
    }
}
