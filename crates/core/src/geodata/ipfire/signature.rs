//! The signature of `location.db`: ECDSA over P-521 with SHA-256, in ASN.1 (DER).
//!
//! libloc signs with the digest that OpenSSL takes for such a key if none is named, which is SHA-256
//! (`loc_writer_create_signature` in libloc's `src/writer.c`).

use p521::ecdsa::signature::hazmat::PrehashVerifier;
use p521::ecdsa::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};

/// The key by which IPFire signs since December 2019, as an uncompressed point
/// (`data/signing-key.pem` of <https://git.ipfire.org/?p=location/libloc.git>).
#[rustfmt::skip]
pub const IPFIRE_KEY: [u8; 133] = [
    0x04,
    0x01, 0xd4, 0xfc, 0xd9, 0x75, 0x5f, 0x43, 0x13, 0x9f, 0x4b, 0x54, 0x27,
    0x57, 0xcb, 0xff, 0x5c, 0x46, 0x0b, 0xd3, 0xcb, 0xd9, 0x71, 0x2f, 0x9b,
    0x55, 0xd7, 0x46, 0xb0, 0x64, 0x38, 0xa5, 0xc1, 0x0f, 0x46, 0x47, 0xcc,
    0x7f, 0x8a, 0xb2, 0x44, 0xf1, 0xcb, 0x46, 0x4a, 0x76, 0x79, 0x1e, 0x06,
    0xce, 0x93, 0xe8, 0x22, 0x96, 0xea, 0xe6, 0x0b, 0x92, 0x65, 0x26, 0x64,
    0xe3, 0x66, 0xb5, 0xbb, 0xb6, 0xdf, 0x00, 0xc2, 0x2b, 0xbc, 0x8a, 0xbd,
    0xf2, 0xda, 0x7e, 0xd7, 0x5f, 0x28, 0x95, 0x18, 0x8c, 0xd3, 0x1e, 0xb0,
    0x3a, 0x4f, 0x0e, 0xd2, 0x1b, 0xe1, 0xfd, 0x2f, 0x3b, 0x88, 0x97, 0x4c,
    0x02, 0x83, 0xab, 0x3a, 0xb2, 0xf9, 0xd7, 0x54, 0x3c, 0xa1, 0xa3, 0xb6,
    0xf4, 0xb5, 0x26, 0x4f, 0x50, 0x62, 0x8c, 0x23, 0x6f, 0x2a, 0x09, 0x45,
    0xde, 0x7f, 0x48, 0xef, 0x67, 0xdf, 0xa7, 0x71, 0x38, 0x89, 0x87, 0x5c,
];

/// A public key of P-521.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

/// Bytes that are no point on P-521.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("that is not a public key of P-521: give the 133 bytes of an uncompressed point")]
pub struct InvalidKey;

impl PublicKey {
    /// The key of a point, as SEC 1 writes it.
    ///
    /// # Errors
    /// [`InvalidKey`] if it is not a point on the curve. [`IPFIRE_KEY`] is one.
    pub fn new(point: &[u8]) -> Result<Self, InvalidKey> {
        VerifyingKey::from_sec1_bytes(point).map(Self).map_err(|_| InvalidKey)
    }

    /// Whether this key signed what these pieces are together.
    pub(super) fn signed(&self, pieces: &[&[u8]], signature: &[u8]) -> bool {
        let mut digest = Sha256::new();
        pieces.iter().for_each(|piece| digest.update(piece));
        let digest = digest.finalize();
        let signature = Signature::from_der(signature);
        signature.is_ok_and(|signature| self.0.verify_prehash(&digest, &signature).is_ok())
    }
}

/// Whose files are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Those that this key signed.
    SignedBy(PublicKey),
    /// Everybody's: signatures are not looked at.
    Anybody,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `openssl pkeyutl -sign -rawin` of OpenSSL 3.0, without a digest named.
    const KEY: &str = "\
        04009313b5e2e7ea1137c8e5ef382b79016e2eb0b7445cc5a36e35cb619d13fbeca893db6e3ea04580e257ed4afcf00f\
        a2ff109666685fe58efe284c84227b74e2be10018d031cacd407417abe12165beeb66347f6ddfd3f42ec52dcc853241f\
        7c5022aa660a12f76cbbf816ee65be4dae0abf9546aa9e7ca76108fe9517120fc4ba2ef9d1";
    const SIGNATURE: &str = "\
        308187024200b9c1d14b9e700c3b130727bfa8bae4c691127ff3e139aebbd95d1633008986c50a7debc0f2ff7bd41968\
        9197229128ac008cb691eaf91bf7d10e15b6fcd62d748b02410f65585d718ef3c48d7f81fb6f5bfbb8f93bce08452891\
        0469c722b8556a2df65602172c98c28bf85cd25c4a56074638afc977a09adbf3d0c4fb8576fdfb7fdc72";

    fn bytes(hex: &str) -> Vec<u8> {
        let pairs = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
    }

    #[test]
    fn what_openssl_signed_is_signed() {
        let key = PublicKey::new(&bytes(KEY)).unwrap();
        let signature = bytes(SIGNATURE);
        assert!(key.signed(&[b"hello\n"], &signature));
        assert!(key.signed(&[b"hel", b"", b"lo\n"], &signature));
        assert!(!key.signed(&[b"hello"], &signature));
        assert!(!key.signed(&[b"hello\n"], &signature[1..]));
        assert!(!key.signed(&[b"hello\n"], &[]));
        assert!(!PublicKey::new(&IPFIRE_KEY).unwrap().signed(&[b"hello\n"], &signature));
    }

    #[test]
    fn what_is_no_point_is_no_key() {
        let mut point = IPFIRE_KEY;
        assert!(PublicKey::new(&point).is_ok());
        point[70] ^= 1;
        assert_eq!(PublicKey::new(&point), Err(InvalidKey));
        assert_eq!(PublicKey::new(&[]), Err(InvalidKey));
    }
}
