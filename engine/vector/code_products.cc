#include "engine/vector/code_products.h"

namespace baton {

#define BATON_DECLARE_PRODUCTS(level)                                                             \
  namespace level {                                                                               \
  void CodeProducts(const QueryCode& query, const uint8_t* codes, int64_t stride, int64_t length, \
                    const uint32_t* rows, int64_t count, int32_t* products, int32_t* squares);    \
  }
BATON_DECLARE_PRODUCTS(baseline)
BATON_DECLARE_PRODUCTS(avx2)
BATON_DECLARE_PRODUCTS(avx512)
BATON_DECLARE_PRODUCTS(avx512_vnni)
#undef BATON_DECLARE_PRODUCTS

CodeProductsFn CodeProductsFor(SimdLevel level) {
  switch (level) {
    case SimdLevel::kAmx:
    case SimdLevel::kAvx512Vnni:
      return avx512_vnni::CodeProducts;
    case SimdLevel::kAvx512:
      return avx512::CodeProducts;
    case SimdLevel::kAvx2:
      return avx2::CodeProducts;
    case SimdLevel::kBaseline:
      break;
  }
  return baseline::CodeProducts;
}

}  // namespace baton
