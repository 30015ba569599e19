/* What batond and its executor plug-ins (libbaton_gpu.so, libbaton_fpga.so) say to each other. C
 * only, so that either side may be built with another compiler, standard library or sanitizer.
 *
 * A plug-in exports one symbol, baton_executor_plugin_v1. Ownership never crosses: memory belongs
 * to the side that allocated it, and whoever is handed a pointer only uses it. No exception
 * crosses. A loaded plug-in is never unloaded.
 *
 * How it grows: functions and fields are only ever appended, and whoever provides a struct says its
 * size in it. A reader uses a field only where that size covers it; so an older plug-in simply
 * lacks the newer functions, and the daemon offers less on its devices. Anything else is a new
 * BATON_EXECUTOR_ABI_VERSION, which the daemon refuses by name.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BATON_EXECUTOR_ABI_VERSION 1u

enum baton_platform { BATON_PLATFORM_GPU = 1, BATON_PLATFORM_FPGA = 2 };

enum baton_log_level { BATON_LOG_INFO = 1, BATON_LOG_WARN = 2, BATON_LOG_ERROR = 3 };

/* What the daemon offers to a plug-in. Valid until the process ends; thread safe. */
struct baton_host {
  uint32_t struct_size;
  /* level: a baton_log_level. message: one line that says by itself what it is about. */
  void (*log)(int32_t level, const char* message);
};

/* One device. Texts are UTF-8 and end with a NUL. */
struct baton_device {
  char name[256];              /* "NVIDIA H200" */
  char detail[256];            /* driver, capability: what an operator wants to know */
  uint64_t memory_bytes_total; /* 0: unknown */
  uint32_t emulated;           /* 1: an emulation of a device */
  uint32_t reserved;           /* 0 */
  char pci_address[32];        /* "0000:3b:00.0"; empty: it is on no PCI bus */
};

/* Whether the daemon that asks knows a field of baton_device: whoever writes one that was not in
 * the first release asks first. */
#define BATON_DEVICE_HAS(probe, field) \
  ((probe)->device_struct_size >=      \
   offsetof(struct baton_device, field) + sizeof(((struct baton_device*)0)->field))

/* Question and answer of a probe; the daemon's memory, zeroed but for the first four fields. */
struct baton_probe {
  uint32_t struct_size;
  uint32_t device_struct_size;  /* bytes from one device to the next in `devices` */
  struct baton_device* devices; /* [device_capacity] */
  uint32_t device_capacity;
  uint32_t device_count; /* out: devices there are; the first device_capacity are described */
  char reason[512];      /* out: where there are none or the probe failed: why, and what to do */
};

/* For plug-ins: where to describe device `index`, below device_capacity. */
static inline struct baton_device* baton_probe_device(const struct baton_probe* probe,
                                                      uint32_t index) {
  char* const devices = (char*)probe->devices;
  return (struct baton_device*)(devices + (uint64_t)index * probe->device_struct_size);
}

/* The plug-in's static table. */
struct baton_executor_plugin {
  uint32_t struct_size;
  uint32_t abi_version; /* BATON_EXECUTOR_ABI_VERSION */
  int32_t platform;     /* baton_platform */
  uint32_t reserved;    /* 0 */
  const char* version;  /* of the plug-in and of what it is built on, for the operator */
  /* Looks for devices; leaves nothing open. Returns 0, or anything else with probe->reason
   * filled in. Must not write to standard output. */
  int32_t (*probe)(const struct baton_host* host, struct baton_probe* probe);
};

/* The one exported symbol. */
__attribute__((visibility("default"))) const struct baton_executor_plugin* baton_executor_plugin_v1(
    void);

#ifdef __cplusplus
}
#endif
