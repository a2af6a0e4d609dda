//! The arithmetic of the model, one text at a time, for the processor at hand.
//!
//! Everything that works number by number is written once, as plain loops, and compiled once for
//! each instruction set ([`versions`]); the compiler vectorises it. Only the int8 products
//! are written by hand, in `int8`.
//!
//! Invariant: an [`Isa`] exists only for instructions that this processor has, which is what
//! makes calling the compiled versions sound.

mod elementwise;
mod int8;
mod matmul;
mod quantise;

pub(super) use elementwise::{add, add_bias, gelu, layer_norm, softmax};
pub(super) use int8::{Int8Matrix, Rounded};
pub(super) use matmul::{F32Matrix, Product, matmul};
pub(super) use quantise::{Quantised, WEIGHT_MAX, weight_scale};

/// An instruction set that this processor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Isa(Set);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    /// Whatever the compiler was allowed to assume.
    Portable,
    /// 256-bit integers and fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 512-bit vectors with the dot product of bytes.
    #[cfg(target_arch = "x86_64")]
    Vnni,
}

impl Isa {
    /// Runs everywhere.
    pub const PORTABLE: Self = Self(Set::Portable);

    /// The fastest one of this processor.
    pub fn best() -> Self {
        Self::available().next().unwrap_or(Self::PORTABLE)
    }

    /// All of this processor, the fastest first.
    pub fn available() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let found = {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let vnni = avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni");
            [
                vnni.then_some(Self(Set::Vnni)),
                avx2.then_some(Self(Set::Avx2)),
            ]
        };
        #[cfg(not(target_arch = "x86_64"))]
        let found = [None, None];
        found.into_iter().flatten().chain([Self::PORTABLE])
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self.0 {
            Set::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Set::Vnni => "avx512-vnni",
        }
    }
}

/// Compiles `body::<FMA>` for every instruction set, and makes the function that chooses. `FMA`
/// tells the body whether multiply-add is one instruction; where it is not, the library's
/// function is slow.
macro_rules! versions {
    ($(#[$doc:meta])* fn $name:ident($($argument:ident: $kind:ty),* $(,)?) = $body:ident) => {
        $(#[$doc])*
        pub(in crate::embed) fn $name(isa: $crate::embed::kernels::Isa, $($argument: $kind),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($argument: $kind),*) {
                $body::<true>($($argument),*);
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2,fma")]
            fn avx512($($argument: $kind),*) {
                $body::<true>($($argument),*);
            }
            match isa.0 {
                $crate::embed::kernels::Set::Portable => $body::<false>($($argument),*),
                // SAFETY: this `Isa` exists, so the processor has AVX2 and FMA.
                #[cfg(target_arch = "x86_64")]
                $crate::embed::kernels::Set::Avx2 => unsafe { avx2($($argument),*) },
                // SAFETY: this `Isa` exists, so the processor has these parts of AVX-512.
                #[cfg(target_arch = "x86_64")]
                $crate::embed::kernels::Set::Vnni => unsafe { avx512($($argument),*) },
            }
        }
    };
}
use versions;

/// `a * b + c`, in one instruction where there is one.
#[inline(always)]
fn multiply_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// So many numbers are worked on side by side; a sum has as many parts.
const LANES: usize = 16;

#[cfg(test)]
mod tests;
