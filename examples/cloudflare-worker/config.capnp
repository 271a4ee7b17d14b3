using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "main", worker = .worker),
    (name = "assets", disk = "node_modules/@prismal/vit-cifar10"),
  ],
  sockets = [(name = "http", address = "127.0.0.1:8787", http = (), service = "main")],
);

const worker :Workerd.Worker = (
  modules = [
    (name = "worker.js", esModule = embed "dist/worker.js"),
    (name = "prismal-simd.wasm", wasm = embed "dist/prismal-simd.wasm"),
    (name = "prismal-relaxed-simd.wasm", wasm = embed "dist/prismal-relaxed-simd.wasm"),
    (name = "mozjpeg_dec.wasm", wasm = embed "dist/mozjpeg_dec.wasm"),
    (name = "squoosh_png_bg.wasm", wasm = embed "dist/squoosh_png_bg.wasm"),
  ],
  bindings = [(name = "ASSETS", service = "assets")],
  compatibilityDate = "2026-01-01",
);
