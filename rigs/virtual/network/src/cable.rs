//! The cable between device and gateway: faults in both directions, the capture's tap, and the counts.

use std::io::{self, Write};

use crate::FaultPlan;
use crate::Statistics;
use crate::capture::{Capture, Direction};
use crate::faults::{Fate, Line};

/// Frames that wait for the device before the stack stops sending: about one full TCP window. Without the
/// bound a device that takes nothing would be buried.
const WAITING_FRAMES: usize = 64;

/// Both lines of the cable.
pub(crate) struct Cable {
    plan: FaultPlan,
    from_device: Line,
    to_device: Line,
    capture: Option<Capture>,
    pub(crate) statistics: Statistics,
}

impl Cable {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            plan: FaultPlan::default(),
            from_device: Line::new(seed, 0),
            to_device: Line::new(seed, 1),
            capture: None,
            statistics: Statistics::default(),
        }
    }

    pub(crate) fn plan(&self) -> &FaultPlan {
        &self.plan
    }

    pub(crate) fn set_plan(&mut self, plan: FaultPlan) {
        self.from_device
            .set(plan.from_device.clone(), plan.link_down);
        self.to_device.set(plan.to_device.clone(), plan.link_down);
        self.plan = plan;
    }

    /// Starts, replaces or ends the capture; whatever was recorded is flushed.
    pub(crate) fn set_capture(
        &mut self,
        writer: Option<Box<dyn Write + Send>>,
        epoch_unix_nanos: u64,
    ) -> io::Result<()> {
        if let Some(mut ending) = self.capture.take() {
            ending.flush()?;
        }
        if let Some(writer) = writer {
            self.capture = Some(Capture::begin(writer, epoch_unix_nanos)?);
            self.statistics.capture_error = None;
        }
        Ok(())
    }

    /// The device puts a frame on the cable.
    pub(crate) fn put_from_device(&mut self, now: u64, frame: &[u8]) {
        self.statistics.frames_from_device += 1;
        self.statistics.bytes_from_device += frame.len() as u64;
        let fate = self.from_device.send(now, frame.to_vec());
        self.count(fate);
        self.record(now, Direction::FromDevice, frame, fate);
    }

    /// The next frame of the device that has arrived here.
    pub(crate) fn arrived(&mut self, now: u64) -> Option<Vec<u8>> {
        self.from_device.arrive(now).map(|(frame, _)| frame)
    }

    /// The gateway puts a frame on the cable.
    pub(crate) fn put_to_device(&mut self, now: u64, frame: Vec<u8>) {
        // A lost frame is recorded when it is sent, all others when they arrive.
        let copy = (self.capture.is_some()).then(|| frame.clone());
        let fate = self.to_device.send(now, frame);
        self.count(fate);
        if let Some(frame) = copy.filter(|_| fate.lost || fate.overflowed) {
            self.record(now, Direction::ToDevice, &frame, fate);
        }
    }

    /// The next frame that has arrived at the device.
    pub(crate) fn delivered(&mut self, now: u64) -> Option<Vec<u8>> {
        let (frame, fate) = self.to_device.arrive(now)?;
        self.statistics.frames_to_device += 1;
        self.statistics.bytes_to_device += frame.len() as u64;
        self.record(now, Direction::ToDevice, &frame, fate);
        Some(frame)
    }

    /// How many frames the stack may still send to the device.
    pub(crate) fn room(&self) -> usize {
        WAITING_FRAMES.saturating_sub(self.to_device.len())
    }

    /// When the next frame of either direction arrives.
    pub(crate) fn next_due(&self) -> Option<u64> {
        let lines = [self.from_device.next_due(), self.to_device.next_due()];
        lines.into_iter().flatten().min()
    }

    fn count(&mut self, fate: Fate) {
        let statistics = &mut self.statistics;
        statistics.frames_lost += u64::from(fate.lost);
        statistics.frames_overflowed += u64::from(fate.overflowed);
        statistics.frames_duplicated += u64::from(fate.duplicated);
        statistics.frames_corrupted += u64::from(fate.corrupted);
        statistics.frames_reordered += u64::from(fate.reordered);
    }

    fn record(&mut self, now: u64, direction: Direction, frame: &[u8], fate: Fate) {
        let Some(capture) = &mut self.capture else {
            return;
        };
        match capture.frame(now, direction, frame, &fate.comment()) {
            Ok(()) => self.statistics.frames_captured += 1,
            Err(error) => self.end_capture(&error),
        }
    }

    /// A capture that can't be written ends, and the run goes on: a full disk is no fault of the device.
    fn end_capture(&mut self, error: &io::Error) {
        tracing::warn!(%error, "the network capture ends: can't write it");
        self.statistics.capture_error = Some(error.to_string());
        self.capture = None;
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        if let Some(mut capture) = self.capture.take()
            && let Err(error) = capture.flush()
        {
            tracing::warn!(%error, "the end of the network capture is missing: can't write it");
        }
    }
}
