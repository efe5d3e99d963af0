//! Compiles the programs.

fn main() {
    bpf_compile::compile("geofilter");
}
