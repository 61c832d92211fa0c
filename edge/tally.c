#include "edge/tally.h"

#include "edge/base/metrics.h"
#include "edge/claims.h"
#include "edge/node.h"

static unsigned metric_protocol(enum http_version version)
{
    return version == HTTP_1_0   ? METRIC_HTTP_1_0
           : version == HTTP_1_1 ? METRIC_HTTP_1_1
           : version == HTTP_2   ? METRIC_HTTP_2
                                 : METRIC_HTTP_3;
}

void tally_begin(const struct exchange *x)
{
    metric_add_by(METRIC_REQUESTS, metric_protocol(x->request.version), 1);
}

static void count(const struct exchange *x, enum verdict verdict)
{
    metric_add_by(METRIC_VERDICTS, verdict, 1);
    metric_add_by(METRIC_RESPONSES, x->status / 100, 1);
    if (x->error) metric_add_by(METRIC_ERRORS, -x->error, 1);
    metric_observe_us(METRIC_REQUEST_DURATION, (uint64_t)(x->ended_us - x->began_us));
    if (x->first_byte_us)
        metric_observe_us(METRIC_FIRST_BYTE, (uint64_t)(x->first_byte_us - x->began_us));
}

void tally_end(struct edge *e, struct exchange *x, enum verdict verdict, struct slice upstream,
               int origin_error)
{
    count(x, verdict);
    if (!e->access_log.sink) return;
    struct access_record record = {
        .exchange = x,
        .client = claims_client(e->config, x->peer, &x->request, &x->arena),
        .verdict = verdict_name(verdict),
        .upstream = upstream,
        .origin_error = origin_error,
    };
    access_log_write(&e->access_log, &record);
}
