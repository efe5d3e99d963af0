//! `make kernels`: boots kernels that Debian ships in virtual machines, each with the programs of its own suite beside the real
//! binary, and drives every data plane there. [`line`] names the kernels, [`initramfs`] is what they boot into, [`machine`] boots
//! them, [`guest`] is what runs there and [`report`] what it says, [`table`] what is written down.

pub mod devices;
pub mod guest;
pub mod initramfs;
pub mod line;
pub mod machine;
pub mod report;
pub mod table;
