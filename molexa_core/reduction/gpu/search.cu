// Coincidence search, one shot in each thread: the methods of ../momentum.py, ../search.py, ../direct.py and
// ../selection.py, function by function, in the same order of operations.
//
// Whoever compiles defines IONS, KINDS, BOXES, BINS (of the histograms of the sums) and the limits CANDIDATES (hits
// that can be one kind of ion), ROWS (candidates that share a shot) and SEGMENT (of the running sums); see
// search_kernel.py. Shots beyond the limits are listed in `left`. With MOLEXA_HOST the source is plain
// C++ for one thread, which tests compare with the compiled path. Numbers are 64 bits wide, and multiplications
// are not fused with additions, so that the results are the same to the last digit.

#ifdef MOLEXA_HOST
#include <cmath>
using std::isnan;
#define DEVICE static inline
#define DEVICE_METHOD inline
typedef unsigned long long cell;
#define ADD(where, number) (*(where) += (number))
#else
#define DEVICE static __device__ __forceinline__
#define DEVICE_METHOD __device__ __forceinline__
typedef unsigned int cell;
#define ADD(where, number) atomicAdd((where), (number))
#endif

typedef unsigned long long word;

enum { MASS, OMEGA, JET, REGIONS, PIECES, ORDERS, FACTOR, START };  // of a row of `flights`
enum { CENTRE, HALF_WIDTH, SIGMA, REACH };                          // of `gate`
enum { BEST = 0, ALL = 1, EVERY = 2 };                              // `asked`
enum { COMBINATIONS, FOUND };                                       // of `totals`
enum { STAGED, LEFT, CONTESTED };                                   // of `cursors`

// The argument of the kernels; `Launch` in search_kernel.py is the same, field by field.
struct Launch {
    const double *x, *y, *t;   // hits, mm and ns
    const long long* offsets;  // [shots + 1]
    const double* flights;     // [KINDS, row] see momentum.flight_row
    word *sums, *elsewhere;    // [3, BINS] and [boxes]: added to
    word* totals;              // see COMBINATIONS: added to
    unsigned int* cursors;     // see STAGED: entries in use of the lists
    int* counts;               // [shots] coincidences, 0 before
    int *left, *contested;     // [shots] lists of shots
    int *shot, *rank, *rows;   // staged coincidences: [room], [room], [room, IONS] numbers in the shot
    double *chi, *probability; // [room]
    const int* base;           // [shots] coincidences of the shots before
    double* table;             // [found, IONS + 3] shot, hits, chi-square, probability
    double* momenta;           // [found, IONS, 3] in the order of `columns`
    long long shots, room, row_length;
    double windows[KINDS][2], gate[4][3], near[3], shifts[BOXES][3];
    double max_momentum, few, log_odds, infinity, nan, sine;
    int kind_of[IONS], wanted[KINDS], space[IONS], columns[IONS];
    int overlap, asked, weigh, boxes;
};

// The argument of the running sums; `Scan` in search_kernel.py.
struct Scan {
    const int* values;  // [n]
    int *sums, *before; // [segments] sums of the segments, [n] sum of the values before
    const int* start;   // [segments] sum before each segment; none for 0
    long long n;
};

// ---------------------------------------------------------------- momenta: ../momentum.py

struct Vector { double x, y, z; };

DEVICE double time_and_slope(double velocity, const double* lengths, const double* accelerations,
                             int regions, double& slope) {
    double entering = velocity, change = 1.0, total = 0.0;
    slope = 0.0;
    for (int region = 0; region < regions; ++region) {
        const double doubled = 2.0 * lengths[region];
        const double leaving = sqrt(entering * entering + accelerations[region] * doubled);
        double passing;
        if (entering > 0.0)
            passing = doubled / (entering + leaving);
        else
            passing = (leaving - entering) / accelerations[region];
        total += passing;
        if (region == 0)
            slope -= passing / leaving;
        else
            slope -= passing * (change + velocity / leaving) / (entering + leaving);
        entering = leaving;
        change = velocity / leaving;
    }
    return total;
}

DEVICE double starting_velocity(const Launch& m, double time, const double* lengths,
                                const double* accelerations, int regions) {
    if (!(time > 0.0)) return m.nan;
    if (regions == 1) return lengths[0] / time - 0.5 * accelerations[0] * time;
    const double scale = sqrt(2.0 * accelerations[0] * lengths[0]);
    double low = -m.infinity, high = m.infinity, velocity = 0.0;
    for (int n = 0; n < STEPS; ++n) {
        double slope;
        const double total = time_and_slope(velocity, lengths, accelerations, regions, slope);
        if (total > time)
            low = velocity;
        else
            high = velocity;
        double trial = slope < 0.0 ? velocity + (time - total) / slope : m.nan;
        if (!(low <= trial && trial <= high)) {
            if (high - low < m.infinity)
                trial = 0.5 * (low + high);
            else
                trial = 2.0 * velocity + (total > time ? scale : -scale);
        }
        if (fabs(trial - velocity) <= TOLERANCE * (scale + fabs(trial))) return trial;
        velocity = trial;
    }
    return m.nan;
}

DEVICE double from_map(const Launch& m, double time, const double* flight, double& scale) {
    const int pieces = (int)flight[PIECES], orders = (int)flight[ORDERS];
    const double* breaks = flight + START;
    const double* times = breaks + pieces + 1;
    const double* scales = times + (long long)pieces * orders;
    int low = 0, high = pieces - 1;
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (times[middle * orders] >= time)
            low = middle;
        else
            high = middle - 1;
    }
    double first = 0.0, last = breaks[low + 1] - breaks[low];
    double beyond = 0.5 * last, found = 0.0;
    for (int n = 0; n < STEPS; ++n) {
        double slope = 0.0;
        found = 0.0;
        for (int order = orders - 1; order >= 0; --order) {
            slope = slope * beyond + found;
            found = found * beyond + times[low * orders + order];
        }
        if (found > time)
            first = beyond;
        else
            last = beyond;
        double trial = slope < 0.0 ? beyond + (time - found) / slope : m.nan;
        if (!(first <= trial && trial <= last)) trial = 0.5 * (first + last);
        const double moved = fabs(trial - beyond);
        beyond = trial;
        if (moved <= 1e-14 * (breaks[pieces] - breaks[0])) break;
    }
    scale = m.nan;
    if (!(fabs(found - time) <= 1e-9 * time)) return m.nan;
    scale = 0.0;
    for (int order = orders - 1; order >= 0; --order)
        scale = scale * beyond + scales[low * orders + order];
    return flight[FACTOR] * (breaks[low] + beyond);
}

#ifdef MOLEXA_HOST
DEVICE Vector
#else
static __device__ __noinline__ Vector
#endif
in_any_field(const Launch& m, double x, double y, double time, const double* flight) {
    Vector p;
    p.x = p.y = p.z = m.nan;
    if (!(time > 0.0)) return p;
    const double mass = flight[MASS];
    const int regions = (int)flight[REGIONS];
    if (regions == 0) {
        double scale;
        p.z = from_map(m, time, flight, scale);
        const double stretched = 1.0 / (scale * time);
        p.x = mass * x * stretched;
        p.y = mass * (y * stretched - flight[JET]);
        return p;
    }
    const double per_time = 1.0 / time;
    const double velocity =
        starting_velocity(m, time, flight + START, flight + START + regions, regions);
    if (isnan(velocity)) return p;
    double along = x * per_time, across = y * per_time;
    if (flight[OMEGA] != 0.0) {
        const double half = 0.5 * flight[OMEGA] * time, sine = sin(half), cosine = cos(half);
        if (fabs(half) > 1.0 && fabs(sine) < m.sine) return p;
        const double stretch = half != 0.0 ? half / sine : 1.0;
        const double turned = stretch * (cosine * along - sine * across);
        across = stretch * (sine * along + cosine * across);
        along = turned;
    }
    p.x = mass * along;
    p.y = mass * (across - flight[JET]);
    p.z = mass * velocity;
    return p;
}

DEVICE Vector initial_momentum(const Launch& m, double x, double y, double time, int kind) {
    const double* flight = m.flights + kind * m.row_length;
    if (flight[REGIONS] == 1.0 && flight[OMEGA] == 0.0 && time > 0.0) {
        const double mass = flight[MASS], per_time = 1.0 / time;
        const double velocity = flight[START] * per_time - 0.5 * flight[START + 1] * time;
        const double across = y * per_time - flight[JET];
        Vector p;
        p.x = mass * (x * per_time);
        p.y = mass * across;
        p.z = mass * velocity;
        return p;
    }
    return in_any_field(m, x, y, time, flight);
}

// ---------------------------------------------------------------- candidates of a shot: ../search.py

struct Shot {
    long long begin;
    int hits, count[KINDS];
    unsigned char members[KINDS][CANDIDATES];
    double momenta[KINDS][CANDIDATES][3];
};

DEVICE double choose(int n, int k) {
    double above = n, below = 1.0;
    for (int i = 1; i < k; ++i) {
        above *= n - i;
        below *= i + 1.0;
    }
    return k > 1 ? above / below : above;
}

// Whether a hit comes after another: at the same time the position decides.
DEVICE bool behind(const Launch& m, long long hit, double time, long long other) {
    const double earlier = m.t[other];
    return earlier < time || (earlier == time && (m.x[other] < m.x[hit] ||
                                                  (m.x[other] == m.x[hit] && m.y[other] <= m.y[hit])));
}

// Number of combinations; 0 where hits are missing, -1 where there are more than this kernel takes.
DEVICE double sort_shot(const Launch& m, long long shot, Shot& s) {
    s.begin = m.offsets[shot];
    s.hits = (int)(m.offsets[shot + 1] - s.begin);
    bool many = s.hits > BITS;
    for (int kind = 0; kind < KINDS; ++kind) {
        int n = 0;
        const double first = m.windows[kind][0], last = m.windows[kind][1];
        for (int hit = 0; hit < s.hits; ++hit) {
            const double time = m.t[s.begin + hit];
            if (!(first <= time && time <= last)) continue;
            if (n < CANDIDATES && hit < 256) s.members[kind][n] = (unsigned char)hit;
            ++n;
        }
        s.count[kind] = n;
        if (n < m.wanted[kind]) return 0.0;
        many |= n > CANDIDATES;
    }
    if (many) return -1.0;
    double combinations = 1.0;
    const double largest = m.max_momentum * m.max_momentum;
    for (int kind = 0; kind < KINDS; ++kind) {
        int n = 0;
        for (int place = 0; place < s.count[kind]; ++place) {
            const int hit = s.members[kind][place];
            const long long at = s.begin + hit;
            const double time = m.t[at];
            const Vector p = initial_momentum(m, m.x[at], m.y[at], time, kind);
            if (!(p.x * p.x + p.y * p.y + p.z * p.z <= largest)) continue;
            int slot = n;
            while (slot > 0) {
                const int other = s.members[kind][slot - 1];
                if (behind(m, at, time, s.begin + other)) break;
                s.members[kind][slot] = (unsigned char)other;
                for (int axis = 0; axis < 3; ++axis)
                    s.momenta[kind][slot][axis] = s.momenta[kind][slot - 1][axis];
                --slot;
            }
            s.members[kind][slot] = (unsigned char)hit;
            s.momenta[kind][slot][0] = p.x;
            s.momenta[kind][slot][1] = p.y;
            s.momenta[kind][slot][2] = p.z;
            ++n;
        }
        s.count[kind] = n;
        if (n < m.wanted[kind]) return 0.0;
        combinations *= choose(n, m.wanted[kind]);
    }
    return combinations > m.few ? -1.0 : combinations;
}

DEVICE bool taken(const Launch& m, const Shot& s, int kind, int index, int last, const int* choice) {
    const int hit = s.members[kind][index];
    bool found = false;
    for (int column = 0; column < last; ++column)
        found |= s.members[m.kind_of[column]][choice[column]] == hit;
    return found;
}

// All combinations whose sum lies near the gate, in the order of `direct.scan`.
template <class Sink>
DEVICE void scan(const Launch& m, const Shot& s, Sink& sink) {
    const int last = IONS - 1;
    int choice[IONS];
    double path[IONS + 1][3];
    for (int axis = 0; axis < 3; ++axis) path[0][axis] = -m.gate[CENTRE][axis];
    int column = 0;
    choice[0] = -1;
    while (column >= 0) {
        const int kind = m.kind_of[column], end = s.count[kind] - m.space[column] + 1;
        if (column < last) {
            const int index = ++choice[column];
            if (index >= end) {
                --column;
                continue;
            }
            if (m.overlap && taken(m, s, kind, index, column, choice)) continue;
            for (int axis = 0; axis < 3; ++axis)
                path[column + 1][axis] = path[column][axis] + s.momenta[kind][index][axis];
            ++column;
            choice[column] = m.kind_of[column] == kind ? choice[column - 1] : -1;
            continue;
        }
        const double x = path[column][0], y = path[column][1], z = path[column][2];
        const int before = choice[column];
        for (int index = before + 1; index < end; ++index) {
            const double* p = s.momenta[kind][index];
            if (fabs(z + p[2]) > m.near[2] || fabs(x + p[0]) > m.near[0] || fabs(y + p[1]) > m.near[1])
                continue;
            if (m.overlap && taken(m, s, kind, index, column, choice)) continue;
            choice[column] = index;
            sink.take(m, s, choice);
        }
        choice[column] = before;
        --column;
    }
}

// A combination in view of the gate: where its sum lies.
struct Judged {
    double total[3];
    int inside, outside_on;
    bool near;
};

DEVICE Judged judge(const Launch& m, const Shot& s, const int* choice) {
    Judged of;
    double x = 0.0, y = 0.0, z = 0.0;
    for (int column = 0; column < IONS; ++column) {
        const double* p = s.momenta[m.kind_of[column]][choice[column]];
        x += p[0];
        y += p[1];
        z += p[2];
    }
    of.total[0] = x;
    of.total[1] = y;
    of.total[2] = z;
    of.inside = of.outside_on = 0;
    of.near = true;
    for (int axis = 0; axis < 3; ++axis) {
        const double apart = fabs(of.total[axis] - m.gate[CENTRE][axis]);
        of.near &= apart <= m.gate[REACH][axis] || m.asked == EVERY;
        if (apart <= m.gate[HALF_WIDTH][axis])
            ++of.inside;
        else
            of.outside_on = axis;
    }
    of.near &= of.inside >= 2;
    return of;
}

// Odds of a combination in a box; false if its sum is not in it.
DEVICE bool in_gate(const Launch& m, const Judged& of, int box, double& odds) {
    double chi_square = 0.0;
    for (int axis = 0; axis < 3; ++axis) {
        double deviation = of.total[axis] - m.gate[CENTRE][axis] - m.shifts[box][axis];
        if (!(fabs(deviation / m.gate[HALF_WIDTH][axis]) <= 1.0)) return false;
        deviation /= m.gate[SIGMA][axis];
        chi_square += deviation * deviation;
    }
    odds = m.log_odds - 0.5 * chi_square;
    return !(chi_square < 0.0 || odds <= -m.infinity);
}

DEVICE int boxes_of(const Launch& m, const Judged& of) { return of.inside < 3 ? m.boxes : 1; }

DEVICE bool skipped(const Launch& m, const Judged& of, int box) {
    return of.inside < 3 && m.shifts[box][of.outside_on] == 0.0;
}

// Counts the candidates and keeps the first.
struct Counting {
    int n, seen, box;
    double odds;
    int hits[IONS];
    DEVICE_METHOD void take(const Launch& m, const Shot& s, const int* choice) {
        const Judged of = judge(m, s, choice);
        if (!of.near) return;
        ++seen;
        for (int at = 0; at < boxes_of(m, of); ++at) {
            double value;
            if (skipped(m, of, at) || !in_gate(m, of, at, value)) continue;
            if (n == 0) {
                box = at;
                odds = value;
                for (int column = 0; column < IONS; ++column)
                    hits[column] = s.members[m.kind_of[column]][choice[column]];
            }
            ++n;
        }
    }
};

// Fills the histograms of the sums.
struct Filling {
    cell* sums;
    DEVICE_METHOD void take(const Launch& m, const Shot& s, const int* choice) {
        const Judged of = judge(m, s, choice);
        if (!of.near) return;
        for (int axis = 0; axis < 3; ++axis) {
            if (of.inside < 3 && axis != of.outside_on) continue;
            const double reach = m.gate[REACH][axis];
            const double position =
                (of.total[axis] - m.gate[CENTRE][axis] + reach) * (BINS / (2.0 * reach));
            if (0.0 <= position && position < BINS) ADD(sums + axis * BINS + (int)position, 1u);
        }
    }
};

// Stages every combination.
struct Staging {
    long long shot, slot;
    int rank;
    DEVICE_METHOD void take(const Launch& m, const Shot& s, const int* choice) {
        const Judged of = judge(m, s, choice);
        double odds;
        if (!of.near || !in_gate(m, of, 0, odds)) return;
        const long long at = slot + rank;
        if (at < m.room) {
            m.shot[at] = (int)shot;
            m.rank[at] = rank;
            for (int column = 0; column < IONS; ++column)
                m.rows[at * IONS + column] = s.members[m.kind_of[column]][choice[column]];
            m.chi[at] = 2.0 * (m.log_odds - odds);
            m.probability[at] = 1.0;
        }
        ++rank;
    }
};

// The next free place of a list; threads of a warp that ask together share one addition.
DEVICE unsigned int next_of(unsigned int* cursor) {
#ifdef MOLEXA_HOST
    return (*cursor)++;
#else
    const unsigned int mask = __activemask(), lane = threadIdx.x & 31;
    const int leader = __ffs(mask) - 1;
    unsigned int first = 0;
    if ((int)lane == leader) first = atomicAdd(cursor, (unsigned int)__popc(mask));
    first = __shfl_sync(mask, first, leader);
    return first + __popc(mask & ((1u << lane) - 1u));
#endif
}

DEVICE unsigned int several_of(unsigned int* cursor, int n) {
#ifdef MOLEXA_HOST
    const unsigned int first = *cursor;
    *cursor += n;
    return first;
#else
    return atomicAdd(cursor, (unsigned int)n);
#endif
}

// What a thread counts of its shots.
struct Counted {
    cell *sums, *elsewhere;
    word combinations, found;
};

DEVICE void search_one(const Launch& m, long long shot, Counted& counted) {
    Shot s;
    const double combinations = sort_shot(m, shot, s);
    if (combinations == 0.0) return;
    Counting counting;
    counting.n = counting.seen = counting.box = 0;
    counting.odds = 0.0;
    for (int column = 0; column < IONS; ++column) counting.hits[column] = 0;
    if (combinations > 0.0) scan(m, s, counting);
    if (combinations < 0.0 || (counting.n > ROWS && m.asked != EVERY)) {
        m.left[next_of(m.cursors + LEFT)] = (int)shot;
        return;
    }
    if (m.asked != EVERY) counted.combinations += (word)combinations;
    if (counting.seen) {
        Filling filling;
        filling.sums = counted.sums;
        scan(m, s, filling);
    }
    if (counting.n == 0) return;
    if (m.asked == EVERY) {
        Staging staging;
        staging.shot = shot;
        staging.slot = several_of(m.cursors + STAGED, counting.n);
        staging.rank = 0;
        scan(m, s, staging);
        m.counts[shot] = counting.n;
        counted.combinations += counting.n;
        counted.found += counting.n;
        return;
    }
    if (counting.n > 1) {
        m.contested[next_of(m.cursors + CONTESTED)] = (int)shot;
        return;
    }
    ADD(counted.elsewhere + counting.box, 1u);
    if (counting.box != 0) return;
    const long long at = next_of(m.cursors + STAGED);
    m.counts[shot] = 1;
    ++counted.found;
    if (at >= m.room) return;
    m.shot[at] = (int)shot;
    m.rank[at] = 0;
    for (int column = 0; column < IONS; ++column) m.rows[at * IONS + column] = counting.hits[column];
    m.chi[at] = 2.0 * (m.log_odds - counting.odds);
    m.probability[at] = 1.0;
}

// ---------------------------------------------------------------- candidates that compete: ../selection.py

struct Rivalry {
    int n;
    unsigned char box[ROWS], hits[ROWS][IONS];
    double odds[ROWS];
    word masks[ROWS];
    bool accepted[ROWS];
    double probability[ROWS];
    DEVICE_METHOD void take(const Launch& m, const Shot& s, const int* choice) {
        const Judged of = judge(m, s, choice);
        if (!of.near) return;
        for (int at = 0; at < boxes_of(m, of); ++at) {
            double value;
            if (skipped(m, of, at) || !in_gate(m, of, at, value) || n >= ROWS) continue;
            box[n] = (unsigned char)at;
            odds[n] = value;
            masks[n] = 0;
            for (int column = 0; column < IONS; ++column) {
                const int hit = s.members[m.kind_of[column]][choice[column]];
                hits[n][column] = (unsigned char)hit;
                masks[n] |= 1ull << hit;
            }
            accepted[n] = true;
            probability[n] = 1.0;
            ++n;
        }
    }
};

// Candidates of a box, those of the largest odds first; their number.
DEVICE int in_box(const Rivalry& r, int box, int* order) {
    int number = 0;
    for (int row = 0; row < r.n; ++row) {
        if (r.box[row] != box) continue;
        int slot = number++;
        while (slot > 0 && r.odds[order[slot - 1]] < r.odds[row]) {
            order[slot] = order[slot - 1];
            --slot;
        }
        order[slot] = row;
    }
    return number;
}

DEVICE double at_most(double value, double limit) { return value < limit ? value : limit; }

DEVICE void compare_sets(const int* group, int size, const int* order, const word* rivals,
                         const Rivalry& r, bool weigh, bool* accepted, double* probability) {
    double weights[ROWS], ratios[ROWS], left[ROWS + 1], value[ROWS + 1], product[ROWS + 1];
    double of_it[ROWS], of_any[ROWS];
    word taken[ROWS + 1], barred[ROWS + 1], best = 0;
    int place[ROWS + 1];
    for (int i = 0; i < size; ++i) {
        ratios[i] = exp(at_most(r.odds[order[group[i]]], 300.0 / size));
        weights[i] = log1p(ratios[i]);
        of_it[i] = of_any[i] = 0.0;
    }
    left[size] = 0.0;
    for (int i = size - 1; i >= 0; --i) left[i] = left[i + 1] + weights[i];
    double best_value = 0.0;
    int sets = 0, depth = 0;
    taken[0] = barred[0] = 0;
    value[0] = 0.0;
    product[0] = 1.0;
    place[0] = -1;
    while (depth >= 0 && sets < MOST_SETS) {
        const int i = ++place[depth];
        if (i >= size || (!weigh && value[depth] + left[i] <= best_value)) {
            --depth;
            continue;
        }
        if (barred[depth] >> group[i] & 1) continue;
        ++sets;
        const int next = depth + 1;
        taken[next] = taken[depth] | 1ull << group[i];
        barred[next] = barred[depth] | rivals[group[i]];
        value[next] = value[depth] + weights[i];
        product[next] = product[depth] * ratios[i];
        if (value[next] > best_value) {
            best = taken[next];
            best_value = value[next];
        }
        if (weigh) {
            for (int j = 0; j < size; ++j) {
                if (taken[next] >> group[j] & 1) {
                    of_it[j] += product[next];
                    of_any[j] += product[next];
                } else if (taken[next] & rivals[group[j]]) {
                    of_any[j] += product[next];
                }
            }
        }
        place[next] = i;
        depth = next;
    }
    if (sets >= MOST_SETS) {
        best = 0;
        for (int i = 0; i < size; ++i) {
            if (!(rivals[group[i]] & best)) best |= 1ull << group[i];
            of_it[i] = of_any[i] = ratios[i];
            for (int j = 0; j < size; ++j)
                if (rivals[group[i]] >> group[j] & 1) of_any[i] += ratios[j];
        }
    }
    for (int i = 0; i < size; ++i) {
        const int row = order[group[i]];
        accepted[row] = best >> group[i] & 1;
        probability[row] = of_any[i] > 0.0 ? of_it[i] / of_any[i] : 1.0;
    }
}

DEVICE void assign(const int* order, int top, const Rivalry& r, bool weigh, bool* accepted,
                   double* probability) {
    if (top == 1) {
        accepted[order[0]] = true;
        probability[order[0]] = 1.0;
        return;
    }
    word rivals[ROWS];
    for (int i = 0; i < top; ++i) {
        rivals[i] = 0;
        accepted[order[i]] = false;
        for (int j = 0; j < i; ++j) {
            if (r.masks[order[i]] & r.masks[order[j]]) {
                rivals[i] |= 1ull << j;
                rivals[j] |= 1ull << i;
            }
        }
    }
    word settled = 0;
    int group[ROWS];
    for (int first = 0; first < top; ++first) {
        if (settled >> first & 1) continue;
        if (rivals[first] == 0) {
            accepted[order[first]] = true;
            probability[order[first]] = 1.0;
            continue;
        }
        word inside = (1ull << first) | rivals[first], before = 0;
        while (inside != before) {
            before = inside;
            for (int i = 0; i < top; ++i)
                if (before >> i & 1) inside |= rivals[i];
        }
        int size = 0;
        for (int i = 0; i < top; ++i)
            if (inside >> i & 1) group[size++] = i;
        settled |= inside;
        compare_sets(group, size, order, rivals, r, weigh, accepted, probability);
    }
}

DEVICE double explained(double odds) { return log1p(exp(at_most(odds, 300.0))); }

DEVICE void beside(const Launch& m, const Rivalry& r) {
    bool won[ROWS];
    double probability[ROWS];
    int order[ROWS];
    for (int box = 1; box < m.boxes; ++box) {
        const int number = in_box(r, box, order);
        int free = 0;
        for (int place = 0; place < number; ++place) {
            const int row = order[place];
            double held = 0.0;
            for (int other = 0; other < r.n; ++other)
                if (r.box[other] == 0 && r.accepted[other] && (r.masks[row] & r.masks[other]))
                    held += explained(r.odds[other]);
            if (explained(r.odds[row]) > held) order[free++] = row;
        }
        if (free == 0) continue;
        assign(order, free, r, false, won, probability);
        for (int place = 0; place < free; ++place)
            if (won[order[place]]) ADD(m.elsewhere + box, 1ull);
    }
}

// A shot whose candidates share hits, or of which several lie in the boxes.
DEVICE void settle_one(const Launch& m, long long shot) {
    Shot s;
    Rivalry r;
    r.n = 0;
    sort_shot(m, shot, s);
    scan(m, s, r);
    int order[ROWS];
    const int picked = in_box(r, 0, order);
    if (picked) assign(order, picked, r, m.weigh, r.accepted, r.probability);
    if (picked < r.n) beside(m, r);
    int number = 0, won = 0;
    for (int place = 0; place < picked; ++place) {
        won += r.accepted[order[place]];
        number += r.accepted[order[place]] || m.asked == ALL;
    }
    if (won) ADD(m.elsewhere, (word)won);
    if (number == 0) return;
    const long long slot = several_of(m.cursors + STAGED, number);
    ADD(m.totals + FOUND, (word)number);
    m.counts[shot] = number;
    int rank = 0;
    for (int place = 0; place < picked; ++place) {
        const int row = order[place];
        if (!r.accepted[row] && m.asked != ALL) continue;
        const long long at = slot + rank;
        if (at < m.room) {
            m.shot[at] = (int)shot;
            m.rank[at] = rank;
            for (int column = 0; column < IONS; ++column)
                m.rows[at * IONS + column] = r.hits[row][column];
            m.chi[at] = 2.0 * (m.log_odds - r.odds[row]);
            m.probability[at] = r.probability[row];
        }
        ++rank;
    }
}

// ---------------------------------------------------------------- results in the order of the shots

DEVICE void sum_one(const Scan& m, long long segment) {
    const long long first = segment * SEGMENT;
    int total = 0;
    for (int i = 0; i < SEGMENT && first + i < m.n; ++i) total += m.values[first + i];
    m.sums[segment] = total;
}

DEVICE void spread_one(const Scan& m, long long segment) {
    const long long first = segment * SEGMENT;
    int total = m.start ? m.start[segment] : 0;
    for (int i = 0; i < SEGMENT && first + i < m.n; ++i) {
        const int value = m.values[first + i];
        m.before[first + i] = total;
        total += value;
    }
}

DEVICE void place_one(const Launch& m, long long at) {
    const long long shot = m.shot[at], row = m.base[shot] + m.rank[at], begin = m.offsets[shot];
    double* line = m.table + row * (IONS + 3);
    line[0] = (double)shot;
    for (int column = 0; column < IONS; ++column)
        line[1 + column] = (double)(begin + m.rows[at * IONS + column]);
    line[1 + IONS] = m.chi[at];
    line[2 + IONS] = m.probability[at];
    for (int to = 0; to < IONS; ++to) {
        const int column = m.columns[to];
        const long long hit = begin + m.rows[at * IONS + column];
        const Vector p = initial_momentum(m, m.x[hit], m.y[hit], m.t[hit], m.kind_of[column]);
        double* momentum = m.momenta + (row * IONS + to) * 3;
        momentum[0] = p.x;
        momentum[1] = p.y;
        momentum[2] = p.z;
    }
}

// ---------------------------------------------------------------- kernels

#ifdef MOLEXA_HOST
extern "C" void search_on_host(const Launch* m) {
    Counted counted;
    counted.sums = m->sums;
    counted.elsewhere = m->elsewhere;
    counted.combinations = counted.found = 0;
    for (long long shot = 0; shot < m->shots; ++shot) search_one(*m, shot, counted);
    m->totals[COMBINATIONS] += counted.combinations;
    m->totals[FOUND] += counted.found;
}
extern "C" void settle_on_host(const Launch* m) {
    for (unsigned int i = 0; i < m->cursors[CONTESTED]; ++i) settle_one(*m, m->contested[i]);
}
extern "C" void sum_on_host(const Scan* m) {
    for (long long i = 0; i * SEGMENT < m->n; ++i) sum_one(*m, i);
}
extern "C" void spread_on_host(const Scan* m) {
    for (long long i = 0; i * SEGMENT < m->n; ++i) spread_one(*m, i);
}
extern "C" void place_on_host(const Launch* m) {
    for (unsigned int i = 0; i < m->cursors[STAGED]; ++i) place_one(*m, i);
}
#else
#define FIRST ((long long)blockIdx.x * blockDim.x + threadIdx.x)
#define STRIDE ((long long)gridDim.x * blockDim.x)

extern "C" __global__ void __launch_bounds__(THREADS) search(const Launch m) {
    __shared__ cell sums[3 * BINS];
    __shared__ cell elsewhere[BOXES];
    __shared__ word totals[2];
    for (int i = threadIdx.x; i < 3 * BINS; i += blockDim.x) sums[i] = 0;
    if (threadIdx.x < BOXES) elsewhere[threadIdx.x] = 0;
    if (threadIdx.x < 2) totals[threadIdx.x] = 0;
    __syncthreads();
    Counted counted;
    counted.sums = sums;
    counted.elsewhere = elsewhere;
    counted.combinations = counted.found = 0;
    for (long long shot = FIRST; shot < m.shots; shot += STRIDE) search_one(m, shot, counted);
    atomicAdd(totals + COMBINATIONS, counted.combinations);
    atomicAdd(totals + FOUND, counted.found);
    __syncthreads();
    for (int i = threadIdx.x; i < 3 * BINS; i += blockDim.x)
        if (sums[i]) atomicAdd(m.sums + i, (word)sums[i]);
    if ((int)threadIdx.x < m.boxes && elsewhere[threadIdx.x])
        atomicAdd(m.elsewhere + threadIdx.x, (word)elsewhere[threadIdx.x]);
    if (threadIdx.x < 2) atomicAdd(m.totals + threadIdx.x, totals[threadIdx.x]);
}
extern "C" __global__ void __launch_bounds__(THREADS) settle(const Launch m) {
    const long long n = m.cursors[CONTESTED];
    for (long long i = FIRST; i < n; i += STRIDE) settle_one(m, m.contested[i]);
}
extern "C" __global__ void __launch_bounds__(THREADS) sum(const Scan m) {
    for (long long i = FIRST; i * SEGMENT < m.n; i += STRIDE) sum_one(m, i);
}
extern "C" __global__ void __launch_bounds__(THREADS) spread(const Scan m) {
    for (long long i = FIRST; i * SEGMENT < m.n; i += STRIDE) spread_one(m, i);
}
extern "C" __global__ void __launch_bounds__(THREADS) place(const Launch m) {
    const long long n = m.cursors[STAGED] < m.room ? m.cursors[STAGED] : m.room;
    for (long long i = FIRST; i < n; i += STRIDE) place_one(m, i);
}
#endif
