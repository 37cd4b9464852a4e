//! Published vectors of XChaCha20-Poly1305, by the same calls that seal and open.
//!
//! The first is of draft-irtf-cfrg-xchacha-03, A.3.1. The others are of Project Wycheproof (C2SP/wycheproof,
//! `testvectors_v1/xchacha20_poly1305_test.json`), under their numbers there.

use crate::sealing::cipher::{Cipher, NONCE_BYTES, Refused, TAG_BYTES};

struct Vector {
    name: &'static str,
    key: &'static str,
    nonce: &'static str,
    associated: &'static str,
    plaintext: &'static str,
    ciphertext: &'static str,
    tag: &'static str,
}

const VALID: [Vector; 8] = [
    Vector {
        name: "draft",
        key: "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
        nonce: "404142434445464748494a4b4c4d4e4f5051525354555657",
        associated: "50515253c0c1c2c3c4c5c6c7",
        plaintext: concat!(
            "4c616469657320616e642047656e746c656d656e206f662074686520636c617373206f66",
            "202739393a204966204920636f756c64206f6666657220796f75206f6e6c79206f6e6520",
            "74697020666f7220746865206675747572652c2073756e73637265656e20776f756c6420",
            "62652069742e",
        ),
        ciphertext: concat!(
            "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b",
            "0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b4522f8c9ba40db5d945",
            "b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff921f9664c97637da9768812f6",
            "15c68b13b52e",
        ),
        tag: "c0875924c1c7987947deafd8780acf49",
    },
    Vector {
        name: "2",
        key: "ab1562faea9f47af3ae1c3d6d030e3af230255dff3df583ced6fbbcbf9d606a9",
        nonce: "6a5e0c4617e07091b605a4de2c02dde117de2ebd53b23497",
        associated: "",
        plaintext: "",
        ciphertext: "",
        tag: "e2697ea6877aba39d9555a00e14db041",
    },
    Vector {
        name: "3",
        key: "d821dce9b890ea37ae1c89e7cb6aeae9371b8179add0d08f5494718322ae0071",
        nonce: "3ec3f7c45e687d75a895bf5e71809e7cdac32158bb48ec0d",
        associated: "8780fb400f94c55d",
        plaintext: "",
        ciphertext: "",
        tag: "966c22d655b9e56326024f028cf887ad",
    },
    Vector {
        name: "5",
        key: "697c197c9e0023c8eee42ddf08c12c46718a436561b0c66d998c81879f7cb74c",
        nonce: "cd78f4533c94648feacd5aef0291b00b454ee3dcdb76dcc8",
        associated: "6384f4714ff18c18",
        plaintext: "e1",
        ciphertext: "b0",
        tag: "e5e35f5332f91bdd2d28e59d68a0b141",
    },
    Vector {
        name: "13",
        key: "48f1389d9222a80898ca26b5cfef5dc82dfc0af7cf66ea1e01bc5279e7414247",
        nonce: "88ccb58d435ea760f19e1fa6172139a071c0c5143959a56c",
        associated: "5cbdd482f3429a27",
        plaintext: "945a1fd040",
        ciphertext: "fb5daf8c6e",
        tag: "ec1682b61957493c2eb758d7a2b7a179",
    },
    Vector {
        name: "27",
        key: "924aafdb5b8a206b3e49aefe8944918cdcc8ccb5bb4b8c4ee81b847aa6fa52a0",
        nonce: "829cb09e40c2cc5f7648adc177e56ef53a58bfa16a859338",
        associated: "a67a57310055b193",
        plaintext: "68576b935acaab8b33ab62e3",
        ciphertext: "2345bfc502f9c62d64ad87f9",
        tag: "6736f095a28b887238f80dc562eaa25c",
    },
    // The bytes that those below have with changed tags.
    Vector {
        name: "166 to 185, unchanged",
        key: KEY,
        nonce: NONCE,
        associated: "000102",
        plaintext: "000102030405060708090a0b0c0d0e0f",
        ciphertext: "b70886f2313d015e1fe741365f5e35f1",
        tag: "2564a8ce1a360e8352971c8110885031",
    },
    Vector {
        name: "186 to 205, unchanged",
        key: KEY,
        nonce: NONCE,
        associated: "000102",
        plaintext: "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20",
        ciphertext: "b70886f2313d015e1fe741365f5e35f1080e0f78ccfb51809417e879689418ef98",
        tag: "8061d3df064071df8082a0f813417f05",
    },
];

const KEY: &str = "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f";
const NONCE: &str = "000102030405060708090a0b0c0d0e0f1011121314151617";

/// Tags of Wycheproof's 166 to 185 that must be refused: of each, bits are changed.
const INVALID_TAGS: [&str; 20] = [
    "2464a8ce1a360e8352971c8110885031",
    "2764a8ce1a360e8352971c8110885031",
    "a564a8ce1a360e8352971c8110885031",
    "2565a8ce1a360e8352971c8110885031",
    "2564a84e1a360e8352971c8110885031",
    "2564a8ce1b360e8352971c8110885031",
    "2564a8ce18360e8352971c8110885031",
    "2564a8ce1a360e0352971c8110885031",
    "2564a8ce1a360e8353971c8110885031",
    "2564a8ce1a360e8352b71c8110885031",
    "2564a8ce1a360e8352971d8110885031",
    "2564a8ce1a360e8352971c8111885031",
    "2564a8ce1a360e8352971c8112885031",
    "2564a8ce1a360e8352971c8110885030",
    "2564a8ce1a360e8352971c8110885033",
    "2564a8ce1a360e8352971c8110885071",
    "2564a8ce1a360e8352971c81108850b1",
    "2564a8ce1a360e0352971c81108850b1",
    "00000000000000000000000000000000",
    "ffffffffffffffffffffffffffffffff",
];

fn bytes(hex: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digits).collect()
}

fn array<const N: usize>(hex: &str) -> [u8; N] {
    bytes(hex).try_into().unwrap()
}

#[test]
fn published_vectors_are_sealed_and_opened_as_they_say() {
    for vector in VALID {
        let cipher = Cipher::new(&array(vector.key));
        let nonce: [u8; NONCE_BYTES] = array(vector.nonce);
        let associated = bytes(vector.associated);
        let mut buffer = bytes(vector.plaintext);
        let tag = cipher.encrypt(&nonce, &associated, &mut buffer);
        assert_eq!(buffer, bytes(vector.ciphertext), "{}", vector.name);
        assert_eq!(tag, array::<TAG_BYTES>(vector.tag), "{}", vector.name);
        let sealed = [&nonce[..], &buffer, &tag].concat();
        assert_eq!(
            cipher.open(&associated, &sealed),
            Ok(bytes(vector.plaintext)),
            "{}",
            vector.name
        );
    }
}

#[test]
fn published_vectors_with_a_changed_tag_are_refused() {
    let cipher = Cipher::new(&array(KEY));
    for tag in INVALID_TAGS {
        let ciphertext = bytes("b70886f2313d015e1fe741365f5e35f1");
        let sealed = [bytes(NONCE), ciphertext, bytes(tag)].concat();
        assert_eq!(cipher.open(&bytes("000102"), &sealed), Err(Refused), "{tag}");
    }
}
