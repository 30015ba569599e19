/* A plug-in with the faults it is compiled with. In C, as the ABI promises. */
#include <stdio.h>

#include "engine/exec/executor_abi.h"

#ifndef FAKE_ABI_VERSION
#define FAKE_ABI_VERSION BATON_EXECUTOR_ABI_VERSION
#endif
#ifndef FAKE_STRUCT_SIZE
#define FAKE_STRUCT_SIZE sizeof(struct baton_executor_plugin)
#endif
#ifndef FAKE_PLATFORM
#define FAKE_PLATFORM BATON_PLATFORM_GPU
#endif
#ifndef FAKE_PROBE
#define FAKE_PROBE Probe
#endif
#ifndef FAKE_CODE
#define FAKE_CODE 0
#endif
#ifndef FAKE_REASON
#define FAKE_REASON ""
#endif
#ifndef FAKE_DEVICES
#define FAKE_DEVICES 0
#endif
#ifndef FAKE_TABLE
#define FAKE_TABLE &plugin
#endif

int32_t Probe(const struct baton_host* host, struct baton_probe* probe) {
  host->log(BATON_LOG_INFO, "fake plug-in: probed");
  for (uint32_t i = 0; i < FAKE_DEVICES; ++i) {
    if (i >= probe->device_capacity) break;
    struct baton_device* device = baton_probe_device(probe, i);
    snprintf(device->name, sizeof(device->name), "Fake %u", (unsigned)i);
    snprintf(device->detail, sizeof(device->detail), "made of nothing");
    device->memory_bytes_total = 1000 + i;
    device->emulated = 1;
    if (BATON_DEVICE_HAS(probe, pci_address)) {
      snprintf(device->pci_address, sizeof(device->pci_address), "0000:%02x:00.0",
               0x3b + (unsigned)i);
    }
  }
  probe->device_count = FAKE_DEVICES;
  snprintf(probe->reason, sizeof(probe->reason), "%s", FAKE_REASON);
  return FAKE_CODE;
}

static const struct baton_executor_plugin plugin = {
    .struct_size = FAKE_STRUCT_SIZE,
    .abi_version = FAKE_ABI_VERSION,
    .platform = FAKE_PLATFORM,
    .version = "0.0-fake",
    .probe = FAKE_PROBE,
};

const struct baton_executor_plugin* baton_executor_plugin_v1(void) {
  (void)&plugin;
  return FAKE_TABLE;
}
