//! Numbers as bytes, bit for bit, on their way between the processes of a [team](crate::team).

/// Packs.
#[derive(Debug, Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    /// An integer.
    pub(crate) fn number(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// A length or an index.
    pub(crate) fn size(&mut self, value: usize) {
        self.number(value as u64);
    }

    /// One real number; what is not a number keeps its bits.
    pub(crate) fn real(&mut self, value: f64) {
        self.number(value.to_bits());
    }

    /// Real numbers and how many there are.
    pub(crate) fn reals(&mut self, values: &[f64]) {
        self.size(values.len());
        self.0.reserve(8 * values.len());
        values.iter().for_each(|v| self.real(*v));
    }

    /// The bytes.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Unpacks in the same order; nothing where the bytes end too soon.
#[derive(Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader(bytes)
    }

    /// See [`Writer::number`].
    pub(crate) fn number(&mut self) -> Option<u64> {
        let (head, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*head))
    }

    /// See [`Writer::size`].
    pub(crate) fn size(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }

    /// See [`Writer::real`].
    pub(crate) fn real(&mut self) -> Option<f64> {
        self.number().map(f64::from_bits)
    }

    /// See [`Writer::reals`].
    pub(crate) fn reals(&mut self) -> Option<Vec<f64>> {
        let bytes = self.size()?.checked_mul(8)?;
        let (head, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        let (words, _) = head.as_chunks::<8>();
        Some(words.iter().map(|w| f64::from_bits(u64::from_le_bytes(*w))).collect())
    }

    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_survives_and_missing_bytes_are_noticed() {
        let values = [0.0, -0.0, f64::from_bits(0x7ff8_0000_0000_0123), f64::MIN_POSITIVE / 4.0];
        let mut writer = Writer::default();
        writer.number(u64::MAX);
        writer.reals(&values);
        writer.real(f64::NEG_INFINITY);
        let bytes = writer.finish();
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.number(), Some(u64::MAX));
        let read: Vec<u64> = reader.reals().unwrap().iter().map(|v| v.to_bits()).collect();
        assert_eq!(read, values.map(f64::to_bits));
        assert_eq!(reader.real(), Some(f64::NEG_INFINITY));
        assert!(reader.is_empty());
        for end in 0..bytes.len() - 8 {
            let mut reader = Reader::new(&bytes[..end]);
            assert!(reader.number().and_then(|_| reader.reals()).is_none());
        }
        // A length that no memory could hold.
        assert!(Reader::new(&[0xff; 16]).reals().is_none());
    }
}
