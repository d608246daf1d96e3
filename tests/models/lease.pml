/* Lease, fencing and dead man of APIS, in one page: what keeps two grid masters from steering one
 * converter, and a converter from running on for a dead owner.
 *
 * Three units. One that hears no grid master stands in a new term; the others grant it a lease, each
 * at most one per term and none while another lease that it granted still runs. It leads with the
 * leases of a majority, and counts them from when it asked, one tick short; the others count from
 * when they granted. Messages are late, lost or overtaken; processes die and come back with what they
 * had written down. Unit 0 has the converter that all is about; its driver switches it off when nobody
 * renews.
 *
 *     spin -a lease.pml && cc -O2 -DSAFETY -DCOLLAPSE -o pan pan.c && ./pan -m200000
 *
 * visits every state: "errors: 0". With one of these after "-a" it finds an error:
 *
 *     -DNO_FENCING      an old order takes effect
 *     -DTWO_VOTES       two lead in one term
 *     -DNO_DEAD_MAN     the converter runs on for a dead unit
 *
 * The core itself is explored by `make explore`; this is the idea of it, for readers.
 */

#ifndef MAX_TERM
#define MAX_TERM 2   /* so many elections */
#endif
#define N 3
#define LEASE 2      /* ticks that a grant lasts; its holder believes in one less */
#define HOLD 1       /* ticks until a driver switches off what is not renewed */
#define DEATHS 1     /* in all */

mtype = { claim, grant };

typedef Unit {
  bool alive;
  bool stands;       /* a candidate, or the grid master */
  bool leads;
  byte term;         /* the newest that it knows: written down */
  byte voted;        /* for whom in that term, N = nobody: written down */
  byte granted;      /* ticks that the lease which it granted still runs */
  byte asked;        /* ticks that the lease which it asks for would run */
  byte votes;        /* who granted it, as bits */
};

Unit u[N];

/* the converter of unit 0 */
byte owned;          /* ticks until it ends without a new order of a grid master */
bool on;
byte obeyed;         /* the newest term that its driver has obeyed */
byte hold;           /* ticks until the driver switches it off */
byte orphaned;       /* ticks since its unit's process died */

chan to[N] = [1] of { mtype, byte, byte };  /* what, of whom, in which term */
chan orders = [1] of { byte, byte };        /* to unit 0: of whom, in which term */
byte deaths = DEATHS;
byte leader_of[MAX_TERM + 1] = N;           /* ghost: who led in a term */

inline send(i, what, term_) {
  if
  :: nfull(to[i]) -> to[i]!what, _pid, term_
  :: true                                   /* lost */
  fi
}

inline send_others(what, term_) {
  for (k : 0 .. N - 1) {
    if
    :: k != _pid -> send(k, what, term_)
    :: else
    fi
  }
}

inline step_down() { u[_pid].stands = false; u[_pid].leads = false; u[_pid].votes = 0 }

inline obey(order_term) {
  /* the driver: no order of a term older than one that it has obeyed */
  if
#ifndef NO_FENCING
  :: order_term < obeyed
  :: else ->
#else
  :: true ->
#endif
     assert(order_term >= obeyed);           /* fencing: no order of an older term takes effect */
     obeyed = order_term; on = true; hold = HOLD; owned = LEASE
  fi
}

active [N] proctype unit() {
  byte who, t, k;
  mtype what;
  u[_pid].voted = N;
  u[_pid].alive = true;
  do
  /* nobody leads: stand, in a new term */
  :: atomic { u[_pid].alive && !u[_pid].stands && u[_pid].granted == 0 && u[_pid].term < MAX_TERM ->
       u[_pid].term++; u[_pid].voted = _pid; u[_pid].granted = LEASE;
       u[_pid].stands = true; u[_pid].votes = 1 << _pid; u[_pid].asked = LEASE - 1;
       send_others(claim, u[_pid].term); who = 0; t = 0; k = 0 }
  /* give an order to unit 0 */
  :: atomic { u[_pid].alive && u[_pid].leads ->
       if
       :: _pid != 0 && nfull(orders) -> orders!_pid, u[_pid].term
       :: _pid == 0 -> obey(u[0].term)
       fi }
  /* take one: of whom it has granted the lease to that runs */
  :: atomic { _pid == 0 && u[0].alive && orders?[who, t] -> orders?who, t;
       if
#ifndef NO_FENCING
       :: t == u[0].term && u[0].voted == who && u[0].granted > 0 -> obey(t)
       :: else
#else
       :: obey(t)
#endif
       fi;
       who = 0; t = 0 }
  :: atomic { _pid == 0 && nempty(orders) -> orders?who, t; who = 0; t = 0 }  /* lost */
  /* take what arrives, whichever comes first */
  :: atomic { u[_pid].alive && to[_pid]??[what, who, t] -> to[_pid]??what, who, t;
       if
       :: what == claim ->
          if
#ifdef TWO_VOTES
          :: t >= u[_pid].term && !u[_pid].leads ->
#else
          :: (t > u[_pid].term && (u[_pid].granted == 0 || u[_pid].voted == who)) ||
             (t == u[_pid].term && u[_pid].voted == who) ->
#endif
             if
             :: t > u[_pid].term -> step_down()
             :: else
             fi;
             u[_pid].term = t; u[_pid].voted = who; u[_pid].granted = LEASE;
             send(who, grant, t)
          :: else
          fi
       :: what == grant && u[_pid].stands && t == u[_pid].term && u[_pid].asked > 0 ->
          u[_pid].votes = u[_pid].votes | (1 << who);
          if
          :: u[_pid].votes != (1 << _pid) ->   /* two of three */
             u[_pid].leads = true;
             assert(leader_of[t] == N || leader_of[t] == _pid);  /* one a term */
             leader_of[t] = _pid;
             for (k : 0 .. N - 1) { assert(k == _pid || !u[k].leads) }  /* one at a time */
          :: else
          fi
       :: else
       fi;
       what = 0; who = 0; t = 0; k = 0 }
  /* feed the driver's dead man, while a grid master wants it on */
  :: atomic { _pid == 0 && u[0].alive && on && owned > 0 && hold < HOLD -> hold = HOLD }
  /* die, anywhere; come back with what was written down, and honour a lease in full */
  :: atomic { u[_pid].alive && deaths > 0 -> deaths--; u[_pid].alive = false; step_down();
       u[_pid].asked = 0;
       if
       :: _pid == 0 -> owned = 0
       :: else
       fi }
  :: atomic { !u[_pid].alive -> u[_pid].alive = true; u[_pid].granted = LEASE;
       if
       :: _pid == 0 -> on = false; hold = 0; orphaned = 0
       :: else
       fi }
  od
}

/* Time: all clocks at once, and nobody need have done anything in between. */
active proctype clock() {
  byte i;
  do
  :: atomic {
       for (i : 0 .. N - 1) {
         if
         :: u[i].granted > 0 -> u[i].granted--
         :: else
         fi;
         if
         :: u[i].asked > 0 -> u[i].asked--
         :: else
         fi;
         if
         :: u[i].stands && u[i].asked == 0 ->
            u[i].stands = false; u[i].leads = false; u[i].votes = 0
         :: else
         fi;
       }
       if
       :: owned > 0 -> owned--
       :: else
       fi;
#ifndef NO_DEAD_MAN
       if
       :: on && hold == 0 -> on = false
       :: else
       fi;
#endif
       if
       :: hold > 0 -> hold--
       :: else
       fi;
       if
       :: on && !u[0].alive -> orphaned++; assert(orphaned <= HOLD)
       :: else -> orphaned = 0
       fi;
       i = 0 }
  od
}
