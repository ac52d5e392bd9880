fn main() {
    // Without `std` this crate is being compiled to wasm itself.
    #[cfg(feature = "std")]
    {
        // The target directory lies outside the tree, so the builder would not find the workspace's lock file and
        // resolve other versions.
        std::env::set_var("WASM_BUILD_WORKSPACE_HINT", concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
        substrate_wasm_builder::WasmBuilder::build_using_defaults();
    }
}
