// Past deals: one line each, which opens to the receipt and the phases.
export default {
  template: `
  <section class="apis-card">
    <h2>{{ state.title }} <span class="count">{{ state.deals.length }}</span> <small v-if="state.total">{{ state.total }}</small></h2>
    <p v-if="!state.deals.length" class="empty">None that match.</p>
    <template v-else>
    <table class="apis-table past">
      <thead><tr><th>Began</th><th>Deal</th><th>End</th><th class="num">Agreed</th><th class="num">Moved</th><th class="num">Lost</th>
        <th class="num">Current</th><th class="num">Price</th><th class="num">Lasted</th><th><span class="hidden">Details</span></th></tr></thead>
      <tbody v-for="d in state.deals.slice(0, shown)" :key="d.id">
        <tr>
          <td data-label="Began"><small>{{ d.day }}</small> {{ d.began }}</td>
          <th scope="row"><a :href="root + '/unit/' + d.giver">{{ d.giver }}</a> → <a :href="root + '/unit/' + d.taker">{{ d.taker }}</a></th>
          <td data-label="End"><span class="chip" :class="d.completed ? 'good' : d.over ? 'bad' : 'info'">{{ d.completed ? '✓' : d.over ? '⚠' : '…' }} {{ d.state }}</span></td>
          <td data-label="Agreed" class="num">{{ d.agreed }}</td>
          <td data-label="Moved" class="num">{{ d.moved }}</td>
          <td data-label="Lost" class="num">{{ d.lost }}</td>
          <td data-label="Current" class="num">{{ d.current }}</td>
          <td data-label="Price" class="num">{{ d.price }}</td>
          <td data-label="Lasted" class="num">{{ d.ran }}</td>
          <td class="more"><button type="button" :aria-expanded="open === d.id" :aria-label="'Receipt of the deal ' + d.giver + ' to ' + d.taker" @click="open = open === d.id ? '' : d.id">{{ open === d.id ? '▴' : '▾' }}</button></td>
        </tr>
        <tr v-if="open === d.id" class="receipt"><td colspan="10">
          <p v-if="d.reason"><b>Why it ended:</b> {{ d.reason }}</p>
          <div class="phases" v-if="d.phases.length" role="img" :aria-label="d.phases.map((p) => p.name + ' ' + p.took).join(', ')">
            <div v-for="(p, i) in d.phases" :key="i" :class="p.kind" :style="{flexGrow: Math.max(p.part, 0.01)}"></div></div>
          <ul class="legend"><li v-for="(p, i) in d.phases" :key="i"><i :class="p.kind"></i>{{ p.at }} {{ p.name }} <small>{{ p.took }}</small></li></ul>
          <dl><div><dt>Sent</dt><dd>{{ d.sent }}</dd></div><div><dt>Received</dt><dd>{{ d.received }}</dd></div><div><dt>Paid</dt><dd>{{ d.points }}</dd></div>
            <div><dt>Asked by</dt><dd>{{ d.asked || '–' }}</dd></div><div><dt>Held the voltage</dt><dd>{{ d.reference || '–' }}</dd></div>
            <div><dt>Grid master</dt><dd>{{ d.master || '–' }}</dd></div><div><dt>Id</dt><dd class="id">{{ d.id }}</dd></div></dl>
        </td></tr>
      </tbody>
    </table>
    <button v-if="state.deals.length > shown" type="button" class="apis-more" @click="shown += 50">Show {{ Math.min(50, state.deals.length - shown) }} more</button>
    </template>
  </section>`,
  props: { state: Object, root: String },
  data: () => ({ open: '', shown: 15 }),
};
