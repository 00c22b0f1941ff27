#ifndef POSTRIDER_OPENAPI_H
#define POSTRIDER_OPENAPI_H

#include <stddef.h>

/// The bytes of postrider.yaml as it was when this was compiled. Lives as long as the process.
const unsigned char *postrider_openapi_yaml(size_t *count);

/// The bytes of postrider.json: the same document, written from it by Scripts/openapi.
const unsigned char *postrider_openapi_json(size_t *count);

#endif
