//! Both images as one file, which is whole or refused: what an agent keeps, and what the portal of a fleet serves.

use sha2::{Digest, Sha256};

/// How it begins. Then both images, each after its length as four bytes, and the SHA-256 of all that.
const MAGIC: &[u8] = b"GeoFilter world data 1\n";
/// Bytes that it may have.
pub const LONGEST: usize = 64 * 1024 * 1024;

/// Why it can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// It ends early.
    #[error("it is too short")]
    Short,
    /// It is longer than any is.
    #[error("it is too long")]
    Long,
    /// Its digest is another one.
    #[error("it is damaged")]
    Damaged,
    /// It never was one.
    #[error("it is something else")]
    Other,
}

/// The file of these images: of the world, and of the autonomous systems.
///
/// # Errors
/// [`BundleError::Long`].
pub fn pack(world: &[u8], systems: &[u8]) -> Result<Vec<u8>, BundleError> {
    let mut content = MAGIC.to_vec();
    for image in [world, systems] {
        let length = u32::try_from(image.len()).map_err(|_| BundleError::Long)?;
        content.extend(length.to_le_bytes());
        content.extend_from_slice(image);
    }
    let digest = Sha256::digest(&content);
    content.extend(digest);
    match content.len() {
        0..=LONGEST => Ok(content),
        _ => Err(BundleError::Long),
    }
}

/// The images in such a file.
///
/// # Errors
/// If it is none, or not whole.
pub fn unpack(content: &[u8]) -> Result<(&[u8], &[u8]), BundleError> {
    if content.len() > LONGEST {
        return Err(BundleError::Long);
    }
    let (content, digest) = content.split_last_chunk::<32>().ok_or(BundleError::Short)?;
    if Sha256::digest(content).as_slice() != digest {
        return Err(BundleError::Damaged);
    }
    let mut rest = content.strip_prefix(MAGIC).ok_or(BundleError::Other)?;
    let mut image = || {
        let (length, after) = rest.split_first_chunk::<4>().ok_or(BundleError::Short)?;
        let length = u32::from_le_bytes(*length) as usize;
        let (image, after) = after.split_at_checked(length).ok_or(BundleError::Short)?;
        rest = after;
        Ok(image)
    };
    Ok((image()?, image()?))
}
