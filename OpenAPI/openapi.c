#include "openapi.h"

// #embed is of C23; clang 19 and newer (Swift 6.2) have it in every mode, and list the files as what this depends on.
#pragma clang diagnostic ignored "-Wc23-extensions"

static const unsigned char yaml[] = {
#embed "postrider.yaml"
};

static const unsigned char json[] = {
#embed "postrider.json"
};

const unsigned char *postrider_openapi_yaml(size_t *count) {
    *count = sizeof yaml;
    return yaml;
}

const unsigned char *postrider_openapi_json(size_t *count) {
    *count = sizeof json;
    return json;
}
