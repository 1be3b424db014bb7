//! hil-mqtt.
