#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    filmstrip_proof::fuzz::private_part(input);
});
