//! Commands and orders carried out: the one place where a request changes the controller.
//!
//! What a command changes for good is kept first and changed then, so that a response never promises
//! what a loss of power takes back.

use super::Controller;
use crate::Now;
use crate::alarms::AlarmState;
use crate::commands::Command;
use crate::kept::{self, KEPT_BYTES_MAX, Keeper, Kept, NotKept};
use crate::mutants::{self, Mutant};
use crate::orders::{Order, SetConfig, SetRelay, SetThreshold, TestAlarm};
use crate::points::POINTS;
use crate::relays::Cause;
use crate::request::RequestError;
use crate::responses::Answer;
use crate::schedules::Schedules;
use crate::thresholds::{Threshold, Thresholds};

impl Controller {
    pub(crate) fn carry_out(
        &mut self,
        now: Now,
        command: Command<'_>,
        keeper: &mut dyn Keeper,
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
                let mut changed = self.schedules.clone();
                let due_ms = changed
                    .add(now, schedule.clone())
                    .map_err(|_| RequestError::ScheduleTableFull)?;
                self.set_schedules(now, changed, keeper)?;
                Ok(Answer::Schedule { schedule, due_ms })
            }
            Command::RemoveSchedule { id } => {
                let mut changed = self.schedules.clone();
                if !changed.remove(&id) {
                    return Err(RequestError::UnknownSchedule);
                }
                self.set_schedules(now, changed, keeper)?;
                Ok(Answer::ScheduleRemoved(id))
            }
            Command::Order(order) => self.carry_out_order(now, order, Some(keeper)),
        }
    }

    /// The one path of what commands and schedules have in common. Without a `keeper` what changes is
    /// kept afterwards, as [`super::Action::Keep`] asks.
    pub(super) fn carry_out_order(
        &mut self,
        now: Now,
        order: Order,
        keeper: Option<&mut dyn Keeper>,
    ) -> Result<Answer, RequestError> {
        match order {
            Order::Summary => Ok(Answer::Summary),
            Order::Relay(order) => Ok(self.set_relay(now, order)),
            Order::Threshold(order) => self.set_threshold(now, order, keeper),
            Order::TestAlarm(order) => Ok(self.test_alarm(now, order)),
            Order::Config(order) => self.set_config(now, order, keeper),
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

    fn set_schedules(
        &mut self,
        now: Now,
        changed: Schedules,
        keeper: &mut dyn Keeper,
    ) -> Result<(), RequestError> {
        let mut buffer = [0; KEPT_BYTES_MAX];
        let bytes = kept::write_schedules(&changed, &mut buffer);
        self.keep_now(now, Kept::Schedules, bytes, keeper)?;
        self.schedules = changed;
        Ok(())
    }

    fn set_threshold(
        &mut self,
        now: Now,
        order: SetThreshold,
        keeper: Option<&mut dyn Keeper>,
    ) -> Result<Answer, RequestError> {
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
            if let Some(keeper) = keeper {
                let mut buffer = [0; KEPT_BYTES_MAX];
                let bytes = kept::write_thresholds(&self.points, &mut buffer);
                if let Err(not_kept) = self.keep_now(now, Kept::Thresholds, bytes, keeper) {
                    self.set_thresholds(id, point.thresholds);
                    return Err(not_kept.into());
                }
            } else {
                self.mark(Kept::Thresholds);
            }
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

    fn set_config(
        &mut self,
        now: Now,
        order: SetConfig,
        keeper: Option<&mut dyn Keeper>,
    ) -> Result<Answer, RequestError> {
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
        match keeper {
            Some(keeper) if changed != self.configuration => {
                let mut buffer = [0; KEPT_BYTES_MAX];
                let bytes = kept::write_configuration(&changed, &mut buffer);
                self.keep_now(now, Kept::Configuration, bytes, keeper)?;
                self.apply(now, changed);
            }
            _ => self.configure(now, changed),
        }
        Ok(Answer::Config {
            interval_s,
            alarm_relay,
        })
    }
}

impl From<NotKept> for RequestError {
    fn from(NotKept: NotKept) -> Self {
        Self::NotKept
    }
}
