//! Compiles the packet generator.

fn main() {
    bpf_compile::compile("generator");
}
