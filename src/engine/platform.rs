//! What about this machine's processor decides the bits of a result.

/// The instruction set that the numeric kinds choose when they start. Sums are grouped differently on each, so
/// results agree only on machines where this is the same.
pub fn instructions() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        if avx512 {
            "avx512"
        } else if avx2 {
            "avx2"
        } else {
            "x86-64"
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    std::env::consts::ARCH
}
