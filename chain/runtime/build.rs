fn main() {
    // Without `std` this crate is being compiled to wasm itself.
    #[cfg(feature = "std")]
    {
        // The target directory lies outside the tree, so the builder would not find the workspace's lock file and
        // resolve other versions.
        // Asked now and not when this script was compiled, perhaps in another clone with the same target directory.
        let directory = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
        std::env::set_var("WASM_BUILD_WORKSPACE_HINT", directory + "/../..");
        substrate_wasm_builder::WasmBuilder::build_using_defaults();
    }
}
