//! Deliberate bugs of the 1-Wire master, see `firmware_mutants`.

firmware_mutants::mutants! {
    1 CrcNotChecked "crc-not-checked" "TEL-2"
        "A scratchpad is believed whatever its CRC."
    2 AbsentKeepsLast "absent-keeps-last" "TEL-2"
        "A sensor that is gone keeps the temperature it last had."
    3 AbsentForever "absent-forever" "TEL-2"
        "A sensor that was gone once is not read again."
    4 SensorSignLost "sensor-sign-lost" "TEL-2"
        "Temperatures below zero are read as above it."
    5 ResolutionMaskReversed "resolution-mask-reversed" "TEL-2"
        "The bits that are cleared are those of the opposite resolution: at 12 bits three good ones."
    6 PowerOnTaken "power-on-taken" "TEL-2"
        "The power-on value of 85 degrees is taken for a temperature."
    7 SearchMissesLast "search-misses-last" "TEL-2"
        "The search stops before its last device."
    8 NeighboursSwapped "neighbours-swapped" "TEL-2"
        "Neighbouring points have each other's temperature."
    9 ConversionNotStarted "conversion-not-started" "TEL-2"
        "No conversion is started, so temperatures stay what they were."
}
