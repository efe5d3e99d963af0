#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| geofilter_hostile::target::fleet().read(data));
