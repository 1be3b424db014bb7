//! What a scenario needs of a rig, and in which words a rig lacks it.
//!
//! A need is a name, or a name and how many at least: `sensors`, `relays:8`. Scenarios name needs so
//! that they never have to know the rig; whether one is met is known before a scenario begins, so
//! that a smaller bench blocks it instead of failing it.

use crate::scenario::Scenario;

/// Whether `scenario` sets or watches the device's pins, so that it must be in touch with them.
pub(crate) fn uses_pins(scenario: &Scenario) -> bool {
    scenario.needs.iter().any(|need| {
        let name = need.split_once(':').map_or(*need, |(name, _)| name);
        matches!(name, "sensors" | "sensor-bus" | "relays" | "power")
    })
}

/// What a rig has, as far as needs ask.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Offers {
    /// Sensors that can be given temperatures.
    pub(crate) sensors: u8,
    /// Whether they are on a bus.
    pub(crate) sensor_bus: bool,
    /// Contacts behind the device's relays.
    pub(crate) relays: u8,
    /// Whether the device's supply can be switched.
    pub(crate) power: bool,
    /// Whether the chip is simulated.
    pub(crate) is_virtual: bool,
}

impl Offers {
    /// Why `need` is not met, or `None` if it is.
    pub(crate) fn unmet(&self, need: &str) -> Option<String> {
        let (name, at_least) = match need.split_once(':') {
            None => (need, None),
            Some((name, count)) => match count.parse::<u8>() {
                Ok(count) => (name, Some(count)),
                Err(_) => return Some(format!("`{need}` is no need: `{count}` is no number")),
            },
        };
        let counted = |has: u8| match at_least {
            None if has == 0 => Some(format!("the rig has no `{name}`")),
            Some(count) if has < count => Some(format!(
                "the rig has {has} {name}, and the scenario needs {count}"
            )),
            _ => None,
        };
        let met = match name {
            "sensors" => return counted(self.sensors),
            "relays" => return counted(self.relays),
            _ if at_least.is_some() => {
                return Some(format!("`{need}` is no need: `{name}` can't be counted"));
            }
            // Every rig has a probe, a broker and a network for the device.
            "probe" | "rtt" | "mqtt" | "network" => true,
            "sensor-bus" => self.sensor_bus,
            "power" => self.power,
            "virtual" if !self.is_virtual => return Some("the rig is a real one".to_owned()),
            "virtual" => true,
            _ => false,
        };
        (!met).then(|| format!("the rig has no `{name}`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(need: &str, expected: Option<&str>) {
        let bench = Offers {
            sensors: 16,
            relays: 4,
            ..Offers::default()
        };
        assert_eq!(bench.unmet(need).as_deref(), expected, "{need}");
    }

    #[test]
    fn needs_are_met_or_named() {
        check("mqtt", None);
        check("sensors", None);
        check("relays", None);
        check("sensor-bus", Some("the rig has no `sensor-bus`"));
        check("power", Some("the rig has no `power`"));
        check("virtual", Some("the rig is a real one"));
        check("teapot", Some("the rig has no `teapot`"));
        let nothing = Offers::default();
        let why = nothing.unmet("sensors");
        assert_eq!(why.as_deref(), Some("the rig has no `sensors`"));
    }

    #[test]
    fn a_rig_with_fewer_says_how_many_it_has() {
        check("sensors:16", None);
        check(
            "sensors:60",
            Some("the rig has 16 sensors, and the scenario needs 60"),
        );
        check("relays:4", None);
        check(
            "relays:8",
            Some("the rig has 4 relays, and the scenario needs 8"),
        );
    }

    #[test]
    fn what_is_no_need_is_never_met() {
        check(
            "relays:many",
            Some("`relays:many` is no need: `many` is no number"),
        );
        check(
            "power:2",
            Some("`power:2` is no need: `power` can't be counted"),
        );
    }
}
