//! Polling: what the chip has to say, and what can be seen of it from outside, made into events.

use probe_rs::{BreakpointCause, CoreStatus, HaltReason};

use super::{CoreMemory, RTT_MISSING_FOR, RTT_WRONG_FOR, Supply, Worker, chain};
use crate::{
    event::{BenchEvent, Channel, Crash, CrashKind, RttProblem},
    monitor::Timed,
    rtt::RttError,
};

impl Worker {
    /// Reads what the chip has to say; returns how many bytes that were.
    pub(crate) fn poll(&mut self) -> usize {
        if self.dead.is_some() || self.monitor.is_none() {
            return 0;
        }
        let bytes = match self.poll_chip() {
            Ok(bytes) => bytes,
            // The fixture will tell when it is back.
            Err(_) if matches!(self.supply, Supply::MayGo) => {
                self.session = None;
                0
            }
            Err(error) => {
                // If it can't be helped, the next call says so.
                let _ = self.first_aid(&format!("polling failed: {}", chain(&error)));
                0
            }
        };
        self.digest(bytes)
    }

    /// Reads all channels and writes what is on its way down.
    fn poll_chip(&mut self) -> Result<usize, probe_rs::Error> {
        let Some(session) = self.session.as_mut() else {
            return Ok(0);
        };
        let mut core = session.core(0)?;
        let mut problem = None;
        let mut bytes = 0;
        if let Some(state) = &mut self.rtt {
            let mut memory = CoreMemory(&mut core);
            match state.rtt.poll(&mut memory, &mut self.buffers) {
                Ok(read) => {
                    bytes = read;
                    if !self.outgoing.is_empty() {
                        match state.rtt.write(&mut memory, 0, &self.outgoing) {
                            Ok(written) => drop(self.outgoing.drain(..written)),
                            Err(RttError::Block(found)) => problem = Some(found),
                            Err(RttError::Memory(error)) => return Err(error),
                        }
                    }
                }
                Err(RttError::Block(found)) => problem = Some(found),
                Err(RttError::Memory(error)) => return Err(error),
            }
        }
        let status = core.status()?;
        drop(core);
        self.note_rtt(problem);
        self.note_status(status);
        Ok(bytes)
    }

    /// Makes events of what was read.
    fn digest(&mut self, bytes: usize) -> usize {
        let Some(monitor) = &mut self.monitor else {
            return 0;
        };
        let now = self.shared.clock.now();
        let mut events = vec![];
        let channels = [Channel::Defmt, Channel::Telemetry, Channel::Trace];
        for (channel, buffer) in channels.into_iter().zip(&mut self.buffers) {
            if !buffer.is_empty() {
                self.shared.count_received(channel, buffer.len());
                monitor.received(now, channel, buffer, &mut events);
                buffer.clear();
            }
        }
        if self
            .rtt
            .as_ref()
            .is_some_and(|rtt| rtt.wrong_since.is_some())
        {
            // It is the bench that is deaf; whether the device is silent can't be known.
            monitor.excuse_silence(now);
        }
        let silent = monitor.poll(now, &mut events);
        self.report(events);
        if silent && self.on_target.is_none() {
            self.look_at_silence();
        }
        bytes
    }

    fn report(&self, events: Vec<Timed>) {
        for event in events {
            self.shared.report(event);
        }
    }

    /// Tells of a control block that is wrong, once it has been so for too long; and of one that
    /// is back.
    fn note_rtt(&mut self, problem: Option<RttProblem>) {
        let now = self.shared.clock.now();
        let Some(state) = &mut self.rtt else { return };
        let Some(problem) = problem else {
            state.wrong_since = None;
            if std::mem::take(&mut state.lost) {
                self.shared.report((None, BenchEvent::RttBack));
            }
            return;
        };
        let (since, told) = *state.wrong_since.get_or_insert((now, false));
        let patience = match problem {
            RttProblem::Missing { .. } => RTT_MISSING_FOR,
            _ => RTT_WRONG_FOR,
        };
        if !told && now.saturating_sub(since) >= patience {
            state.wrong_since = Some((since, true));
            state.lost = true;
            self.shared
                .report((None, BenchEvent::RttLost { reason: problem }));
        }
    }

    /// Tells of a chip that has halted by itself; a test program's halts are served.
    fn note_status(&mut self, status: CoreStatus) {
        let CoreStatus::Halted(reason) = status else {
            self.halt_told = false;
            return;
        };
        if self.halt_told {
            return;
        }
        let what = match reason {
            HaltReason::Breakpoint(_) => "at a breakpoint in the firmware",
            HaltReason::Exception => "at an exception",
            HaltReason::Watchpoint => "at a watchpoint",
            _ => "for an unknown reason",
        };
        if self.on_target.is_some() {
            let command = match reason {
                HaltReason::Breakpoint(BreakpointCause::Semihosting(command)) => Some(command),
                _ => None,
            };
            match self.serve(command, what) {
                Ok(true) => {}
                Ok(false) => self.halt_told = true,
                Err(error) => tracing::error!("serving the program failed: {}", chain(&error)),
            }
            return;
        }
        self.halt_told = true;
        self.tell_crash(CrashKind::Halt, format!("the CPU halted {what}"));
    }

    /// The chip stands still, and whoever must know does.
    pub(crate) fn halt_is_told(&mut self) {
        self.halt_told = true;
    }

    fn look_at_silence(&mut self) {
        let silence = self.silence.as_secs_f64();
        let message = format!("no telemetry for over {silence:.0} s");
        self.tell_crash(CrashKind::Silence, message);
    }

    /// Tells of a crash that was seen from outside, with the place where the firmware is.
    pub(crate) fn tell_crash(&mut self, kind: CrashKind, message: String) {
        let backtrace = self.backtrace().unwrap_or_default();
        let boot = self.monitor.as_mut().and_then(|monitor| {
            monitor.crash_is_told();
            monitor.boot()
        });
        let message = match backtrace.first() {
            Some(frame) => format!("{message}, pc {frame}"),
            None => message,
        };
        let crash = Crash {
            kind,
            message,
            backtrace,
            boot,
        };
        self.shared.report((None, BenchEvent::Crash(crash)));
    }
}
