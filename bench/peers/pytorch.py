"""PyTorch as a contender, with the messages of bench/contender.ts."""
import base64
import json
import sys
import time

import torch

import reference


def quiet():
    """Waits until this process has stopped computing: threads that still spin would slow whoever is next."""
    for _ in range(60):
        before = time.process_time()
        time.sleep(0.005)
        if time.process_time() - before < 0.001:
            return


def memory():
    with open("/proc/self/status") as status:
        kilobytes = {line.split(":")[0]: line.split()[1] for line in status if line.startswith(("VmHWM", "VmRSS"))}
    with open("/proc/self/clear_refs", "w") as peak:
        peak.write("5")
    return {"bytes": int(kilobytes["VmRSS"]) * 1024, "peakBytes": int(kilobytes["VmHWM"]) * 1024}


def answer(message, state):
    if "load" in message:
        load = message["load"]
        if load["dtype"] != "f32":
            raise ValueError(f"{load['dtype']} is not compared")
        torch.set_num_threads(load["threads"])
        started = time.perf_counter()
        model = reference.load(load["folder"])
        state["call"], _, _ = reference.calls(model, load["case"]["name"], load["inputs"], load["case"]["rows"])
        return {"loaded": {"milliseconds": 1000 * (time.perf_counter() - started)}}
    if "memory" in message:
        return {"memory": [memory()]}
    with torch.inference_mode():
        if "output" in message:
            return {"output": base64.b64encode(state["call"]().numpy().tobytes()).decode()}
        milliseconds = []
        for _ in range(message["turn"]):
            started = time.perf_counter()
            state["call"]()
            milliseconds.append(1000 * (time.perf_counter() - started))
        return {"turn": {"milliseconds": milliseconds}}


def main():
    state = {}
    for line in sys.stdin:
        try:
            reply = answer(json.loads(line), state)
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        quiet()
        print(json.dumps(reply), flush=True)


main()
