#include "json_scanner.h"
