//! Values that only have to differ from each other, the same ones in every run.

/// Spreads a counter over 64 bits by the finalizer of `SplitMix64`.
pub(crate) const fn splitmix64(counter: u64) -> u64 {
    let mut z = counter.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A UUID of version 4 in form, though not in randomness.
pub(crate) fn uuid(first: u64, second: u64) -> String {
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        first >> 32,
        (first >> 16) & 0xffff,
        first & 0xfff,
        0x8000 | (second >> 48) & 0x3fff,
        second & 0xffff_ffff_ffff
    )
}
