/* NVIDIA's management library as far as the plug-in uses it, with a device of fixed figures, and
 * with the faults it is compiled with. */
#include <stddef.h>
#include <string.h>

#ifndef FAKE_INIT
#define FAKE_INIT 0
#endif

#define EXPORT __attribute__((visibility("default")))

struct utilisation {
  unsigned gpu;
  unsigned memory;
};

static int device;

EXPORT int nvmlInit_v2(void) { return FAKE_INIT; }
EXPORT int nvmlShutdown(void) { return 0; }
EXPORT const char* nvmlErrorString(int error) {
  return error == 3 ? "Not Supported" : "Driver Not Loaded";
}
EXPORT int nvmlDeviceGetHandleByPciBusId_v2(const char* id, void** found) {
  if (strcmp(id, "0000:3b:00.0") != 0) return 3;
  *found = &device;
  return 0;
}
EXPORT int nvmlDeviceGetTemperature(void* of, int sensor, unsigned* celsius) {
  if (of != &device || sensor != 0) return 3;
  *celsius = 61;
  return 0;
}
EXPORT int nvmlDeviceGetPowerUsage(void* of, unsigned* milliwatts) {
  (void)of;
  *milliwatts = 312500;
  return 0;
}
EXPORT int nvmlDeviceGetUtilizationRates(void* of, struct utilisation* rates) {
  (void)of;
  rates->gpu = 87;
  rates->memory = 12;
  return 0;
}
#ifndef FAKE_WITHOUT_ECC
EXPORT int nvmlDeviceGetTotalEccErrors(void* of, int kind, int counter, unsigned long long* count) {
  (void)of;
  if (kind != 1 || counter != 0) return 2;
  *count = 4;
  return FAKE_ECC;
}
#endif
