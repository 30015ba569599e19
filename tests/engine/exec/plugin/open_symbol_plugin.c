/* A plug-in whose driver library lacks a function. */
#include "engine/exec/executor_abi.h"

const struct baton_executor_plugin* BatonFunctionOfAMissingDriver(void);

const struct baton_executor_plugin* baton_executor_plugin_v1(void) {
  return BatonFunctionOfAMissingDriver();
}
