//! Commands and orders carried out: the one place where a request changes the controller.

use super::Controller;
use crate::Now;
use crate::alarms::AlarmState;
use crate::commands::Command;
use crate::kept::Kept;
use crate::mutants::{self, Mutant};
use crate::orders::{Order, SetConfig, SetRelay, SetThreshold, TestAlarm};
use crate::points::POINTS;
use crate::relays::Cause;
use crate::request::RequestError;
use crate::responses::Answer;
use crate::thresholds::{Threshold, Thresholds};

impl Controller {
    pub(crate) fn carry_out(
        &mut self,
        now: Now,
        command: Command<'_>,
    ) -> Result<Answer, RequestError> {
        if mutants::active(Mutant::HundredthCommandFails) && mutants::hundredth() {
            return Err(RequestError::UnknownAlarm);
        }
        match command {
            Command::Help => Ok(Answer::Help),
            Command::GetStatus => Ok(Answer::Status),
            Command::GetPoint { id } => Ok(Answer::Point(usize::from(id))),
            Command::GetActiveAlarms { offset } => Ok(Answer::ActiveAlarms {
                // At most `ALARMS_MAX`.
                offset: offset as usize,
            }),
            Command::AcknowledgeAlarm { id } => {
                let mut alarm = self.alarms.find(id).ok_or(RequestError::UnknownAlarm)?;
                let point = self.points.get(alarm.point).copied().unwrap_or_default();
                self.alarms
                    .acknowledge(now, alarm, &point, &mut self.events);
                self.follow_alarms(now);
                alarm.state = AlarmState::Acknowledged;
                Ok(Answer::Alarm(alarm))
            }
            Command::AddSchedule(schedule) => {
                let due_ms = self
                    .schedules
                    .add(now, schedule.clone())
                    .map_err(|_| RequestError::ScheduleTableFull)?;
                self.mark(Kept::Schedules);
                Ok(Answer::Schedule { schedule, due_ms })
            }
            Command::RemoveSchedule { id } => {
                if !self.schedules.remove(&id) {
                    return Err(RequestError::UnknownSchedule);
                }
                self.mark(Kept::Schedules);
                Ok(Answer::ScheduleRemoved(id))
            }
            Command::Order(order) => self.carry_out_order(now, order),
        }
    }

    /// The one path of what commands and schedules have in common.
    pub(super) fn carry_out_order(
        &mut self,
        now: Now,
        order: Order,
    ) -> Result<Answer, RequestError> {
        match order {
            Order::Summary => Ok(Answer::Summary),
            Order::Relay(order) => Ok(self.set_relay(now, order)),
            Order::Threshold(order) => self.set_threshold(order),
            Order::TestAlarm(order) => Ok(self.test_alarm(now, order)),
            Order::Config(order) => Ok(self.set_config(now, order)),
        }
    }

    fn set_relay(&mut self, now: Now, order: SetRelay) -> Answer {
        let SetRelay {
            relay,
            switch,
            duration_s,
        } = order;
        let (was_on, on) = self.relays.switch(
            now,
            relay,
            switch,
            duration_s,
            Cause::Command,
            &mut self.events,
        );
        Answer::Relay {
            relay,
            was_on,
            on,
            duration_s,
        }
    }

    fn set_threshold(&mut self, order: SetThreshold) -> Result<Answer, RequestError> {
        let id = if mutants::active(Mutant::ThresholdOfTheNextPoint) {
            (order.point + 1) % POINTS as u8
        } else {
            order.point
        };
        let point = self
            .points
            .get(usize::from(id))
            .copied()
            .unwrap_or_default();
        let old = point.thresholds.get(order.side);
        let new = Threshold {
            value: order.value,
            hysteresis: order.hysteresis.unwrap_or(old.hysteresis),
        };
        let thresholds = point.thresholds.with(order.side, new);
        if !thresholds.are_sound() {
            if mutants::active(Mutant::ErrorChangesState) {
                self.set_thresholds(id, thresholds);
            }
            return Err(RequestError::Value {
                name: "value",
                takes: "a low threshold below the high one",
            });
        }
        if thresholds != point.thresholds {
            self.set_thresholds(id, thresholds);
            self.mark(Kept::Thresholds);
        }
        Ok(Answer::Threshold {
            point: order.point,
            side: order.side,
            old,
            new,
        })
    }

    pub(super) fn set_thresholds(&mut self, id: u8, thresholds: Thresholds) {
        if let Some(point) = self.points.get_mut(usize::from(id)) {
            point.thresholds = thresholds;
        }
    }

    fn test_alarm(&mut self, now: Now, order: TestAlarm) -> Answer {
        let id = usize::from(order.point);
        let point = self.points.get(id).copied().unwrap_or_default();
        let (alarm, raised) = self.alarms.test(
            now,
            id,
            order.kind,
            &point,
            order.temperature,
            &mut self.events,
        );
        self.follow_alarms(now);
        Answer::TestAlarm { alarm, raised }
    }

    fn set_config(&mut self, now: Now, order: SetConfig) -> Answer {
        let old = &self.configuration;
        let mut changed = old.clone();
        let interval_s = order.telemetry_interval_s.map(|new| {
            changed.telemetry_interval_s = new;
            (old.telemetry_interval_s, new)
        });
        let alarm_relay = order.alarm_relay.map(|new| {
            changed.alarm_relay = new;
            (old.alarm_relay, new)
        });
        self.configure(now, changed);
        Answer::Config {
            interval_s,
            alarm_relay,
        }
    }
}
