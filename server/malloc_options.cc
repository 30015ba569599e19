// jemalloc reads this name when the program starts, before MALLOC_CONF, which overrides it: memory
// that is no longer used is given back by a thread of its own, also while no request comes.
extern "C" {
extern const char* const malloc_conf;
const char* const malloc_conf = "background_thread:true";
}
