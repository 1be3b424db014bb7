//! 1-Wire master: search, CRC, DS18B20 frames.
#![no_std]
